"""Who a device is, for vouchers: the four facts of Table 63."""

from spkg.device import Device
from spkg.errors import FormatError
from vouchers.model import DeviceId

__all__ = [
    "identity_of",
]


def identity_of(device: Device) -> DeviceId:
    """Return who a device is (Table 63).

    Raises:
        FormatError: It does not say.
    """
    facts = {
        "oui": device.oui,
        "product-class": device.product_class,
        "serial-number": device.serial_number,
    }
    missing = [name for name, value in facts.items() if value is None]
    if missing:
        problem = f"{' and '.join(missing)} must be stated: a voucher is for one device"
        raise FormatError(problem, field="device", section="C.3, Table 63")
    try:
        return DeviceId(
            manufacturer=(device.manufacturer or "")[:64],  # for display alone
            oui=device.oui or "",
            product_class=device.product_class or "",
            serial_number=device.serial_number or "",
        )
    except ValueError as exc:
        raise FormatError(str(exc), field="device", section="C.3, Table 63") from exc
