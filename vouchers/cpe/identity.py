"""The identity of a device, for vouchers: the four facts of Table 63."""

from spkg.device import Device
from spkg.errors import FormatError
from vouchers.model import DeviceId

__all__ = [
    "identity_of",
]


def identity_of(device: Device) -> DeviceId:
    """Return the identity of a device (Table 63).

    Raises:
        FormatError: It is incomplete or invalid.
    """
    facts = {
        "oui": device.oui,
        "product-class": device.product_class,
        "serial-number": device.serial_number,
    }
    missing = [name for name, value in facts.items() if value is None]
    if missing:
        problem = f"missing {' and '.join(missing)}: vouchers need the device's identity"
        raise FormatError(problem, field="device", section="C.3, Table 63")
    try:
        return DeviceId(
            manufacturer=(device.manufacturer or "")[:64],  # for display only
            oui=device.oui or "",
            product_class=device.product_class or "",
            serial_number=device.serial_number or "",
        )
    except ValueError as exc:
        raise FormatError(str(exc), field="device", section="C.3, Table 63") from exc
