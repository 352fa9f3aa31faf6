// A provision of GenieACS 1.2 that sends a voucher to a gateway.
//
// GenieACS has no SetVouchers.  The gateway takes a voucher by Download, too, with the FileType
// "X <OUI> Voucher", and says by TransferComplete how that went; a fault shows up among the faults
// of the device.
//
// Arguments of the preset:
//   1. when the voucher was issued, such as "2026-11-30T12:00:00Z": it is sent once for each time
//   2. its file in GenieACS's file store; without it voucher-<OUI>-<serial number>.xml

const issued = Date.parse(args[0]);
if (!(issued > 0)) {
  throw new Error("voucher: expected the time of issue as the first argument, got " + args[0]);
}
const oui = declare("DeviceID.OUI", {value: 1}).value[0];
const serial = declare("DeviceID.SerialNumber", {value: 1}).value[0];
const file = args[1] || "voucher-" + oui + "-" + serial + ".xml";
const download = "Downloads.[FileType:X " + oui + " Voucher]";

declare(download, {path: 1}, {path: 1});
declare(download + ".FileName", {value: 1}, {value: file});
declare(download + ".Download", {value: 1}, {value: issued});
log("voucher " + file + " of " + new Date(issued).toISOString());
