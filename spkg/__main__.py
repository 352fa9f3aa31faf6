"""The list of commands: name, where it is, one line of help.  A command is imported when it is called."""

from typing import Final

from spkg.cli.app import ListedCommand, application

__all__ = ["COMMANDS", "main"]

COMMANDS: Final = {
    "keygen": ListedCommand(
        where="spkg.cli.keygen:keygen", help="Make a root and a signer in DIR, to try things with."
    ),
    "build": ListedCommand(where="spkg.cli.build:build", help="Build a package from MANIFEST, and sign it."),
    "sign": ListedCommand(
        where="spkg.cli.sign:sign", help="Add a signature to PKG; all others stay octet for octet."
    ),
    "inspect": ListedCommand(
        where="spkg.cli.inspect:inspect",
        help="Show everything PKG says: header, commands, signers, certificates, payload.",
    ),
    "verify": ListedCommand(
        where="spkg.cli.verify:verify", help="Check the signatures of PKG, then every file's digest."
    ),
    "extract": ListedCommand(
        where="spkg.cli.extract:extract",
        help="Extract the files of PKG into DIR, which is empty or not there yet.",
    ),
    "diff": ListedCommand(where="spkg.cli.diff:diff", help="Show what B changes against A."),
    "timeline": ListedCommand(
        where="spkg.cli.timeline:timeline",
        help="Show how states and deadlines would run over a download of PKG at RATE.",
    ),
    "fetch": ListedCommand(
        where="spkg.cli.fetch:fetch",
        help="Download the package at URL and verify it, without applying it.",
    ),
    "apply": ListedCommand(
        where="spkg.cli.apply:apply", help="Install the package SOURCE in a root: all of it or nothing."
    ),
    "recover": ListedCommand(
        where="spkg.cli.recover:recover", help="Finish or undo what a crash left of an installation."
    ),
    "status": ListedCommand(
        where="spkg.cli.status:status",
        help="Show how a root stands, and what was installed there, the last one first.",
    ),
    "voucher": ListedCommand(where="", help="Issue, verify and apply vouchers (TR-069, Appendix C)."),
    "voucher issue": ListedCommand(
        where="vouchers.cli.issue:issue", help="Issue vouchers to one device or to many."
    ),
    "voucher inspect": ListedCommand(
        where="vouchers.cli.inspect:inspect_voucher",
        help="Show everything in a voucher, without verifying it.",
    ),
    "voucher verify": ListedCommand(
        where="vouchers.cli.verify:verify_voucher",
        help="Verify the signature of a voucher.",
    ),
    "voucher apply": ListedCommand(
        where="vouchers.cli.apply:apply_vouchers", help="Apply vouchers to this device: all of them or none."
    ),
    "voucher options": ListedCommand(
        where="vouchers.cli.options:options", help="Show the state of the device's Options."
    ),
    "voucher setup": ListedCommand(
        where="vouchers.cli.setup:setup", help="Mark the Option NAME as set up by the user."
    ),
    "voucher rpc": ListedCommand(
        where="vouchers.cli.rpc:rpc", help="Answer a SetVouchers or GetOptions request."
    ),
    "voucher ledger": ListedCommand(where="", help="List, export and void serial numbers in a ledger."),
    "voucher ledger list": ListedCommand(
        where="vouchers.cli.ledger:list_ledger", help="List vouchers by serial number."
    ),
    "voucher ledger export": ListedCommand(
        where="vouchers.cli.ledger:export_ledger", help="Export the whole ledger as CSV or JSON lines."
    ),
    "voucher ledger void": ListedCommand(
        where="vouchers.cli.ledger:void_serial", help="Void SERIAL: its batch never issues it again."
    ),
}
"""What an installed ``spkg`` can do; a blank separates a command from the group that it belongs to."""

main: Final = application(
    COMMANDS, "Signed packages and vouchers of TR-069: make, verify, install, apply them."
)

if __name__ == "__main__":
    main()
