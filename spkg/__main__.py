"""The list of commands: name, module, one line of help.  A command is imported when it is called."""

from typing import Final

from spkg.cli.app import ListedCommand, application

__all__ = ["COMMANDS", "main"]

COMMANDS: Final = {
    "keygen": ListedCommand(
        where="spkg.cli.keygen:keygen",
        help="Create test keys and certificates in DIR: a root, an intermediate, signers.",
    ),
    "build": ListedCommand(where="spkg.cli.build:build", help="Build a package from MANIFEST and sign it."),
    "sign": ListedCommand(
        where="spkg.cli.sign:sign", help="Add a signature to PKG; existing ones stay unchanged."
    ),
    "attest": ListedCommand(
        where="spkg.cli.attest:attest",
        help="Sign a statement about where PKG comes from: SLSA provenance.",
    ),
    "prepare": ListedCommand(
        where="spkg.cli.prepare:prepare", help="Write what is to be signed for PKG, to be signed elsewhere."
    ),
    "attach": ListedCommand(
        where="spkg.cli.attach:attach", help="Add a signature to PKG that was made elsewhere for REQUEST."
    ),
    "signatures": ListedCommand(
        where="spkg.cli.signatures:signatures",
        help="List the signatures of PKG, or remove some; nothing is verified.",
    ),
    "inspect": ListedCommand(
        where="spkg.cli.inspect:inspect", help="Show everything in PKG; nothing is verified."
    ),
    "verify": ListedCommand(
        where="spkg.cli.verify:verify", help="Check the signatures of PKG and the digest of every file."
    ),
    "policy": ListedCommand(where="", help="Explain what a policy file accepts."),
    "policy check": ListedCommand(
        where="spkg.cli.policy:check_policy", help="Explain in words what the policy FILE accepts."
    ),
    "list": ListedCommand(
        where="spkg.cli.list:list_files", help="List the files in PKG; nothing is verified."
    ),
    "cat": ListedCommand(where="spkg.cli.cat:cat", help="Print the contents of the file PATH in PKG."),
    "extract": ListedCommand(
        where="spkg.cli.extract:extract", help="Extract the files of PKG into DIR, installing nothing."
    ),
    "diff": ListedCommand(where="spkg.cli.diff:diff", help="Show what changes from package A to package B."),
    "timeline": ListedCommand(
        where="spkg.cli.timeline:timeline",
        help="Show states and deadlines of a download of PKG at RATE.",
    ),
    "fetch": ListedCommand(where="spkg.cli.fetch:fetch", help="Download the package at URL and verify it."),
    "apply": ListedCommand(
        where="spkg.cli.apply:apply", help="Install the package SOURCE in a root, all or nothing."
    ),
    "confirm": ListedCommand(
        where="spkg.cli.confirm:confirm_trial",
        help="End a trial: the package stays, and the old files are removed.",
    ),
    "rollback": ListedCommand(
        where="spkg.cli.rollback:roll_back", help="Go back to before the package on trial, all or nothing."
    ),
    "guard": ListedCommand(
        where="spkg.cli.guard:guard",
        help="Wait for the end of a trial; if nobody confirms it, go back and reboot.",
    ),
    "recover": ListedCommand(
        where="spkg.cli.recover:recover", help="Finish or undo an interrupted installation."
    ),
    "status": ListedCommand(
        where="spkg.cli.status:status", help="Show the state of a root and what was installed there."
    ),
    "log": ListedCommand(where="spkg.cli.log:log", help="Show what happened in a root, the oldest first."),
    "agent": ListedCommand(where="", help="Keep a gateway in touch with its ACS (TR-069, CWMP)."),
    "agent run": ListedCommand(
        where="spkg.cli.agent_run:run", help="Keep the gateway in touch with its ACS, as a service."
    ),
    "agent once": ListedCommand(
        where="spkg.cli.agent_run:once", help="Do what is due, once: a session, then transfers."
    ),
    "agent check": ListedCommand(
        where="spkg.cli.agent_run:check", help="Check the configuration, and what it names."
    ),
    "agent status": ListedCommand(
        where="spkg.cli.agent_show:status_of_agent",
        help="Show whether the agent is in touch with its ACS, and why not.",
    ),
    "agent config": ListedCommand(
        where="spkg.cli.agent_show:config_in_force",
        help="Show the settings in force, and where each comes from.",
    ),
    "agent parameters": ListedCommand(
        where="spkg.cli.agent_show:parameters", help="Show parameters as GetParameterValues answers them."
    ),
    "agent set": ListedCommand(
        where="spkg.cli.agent_ask:set_parameters",
        help="Set parameters as the subscriber, one after the other.",
    ),
    "agent transfers": ListedCommand(
        where="spkg.cli.agent_show:transfers",
        help="Show transfers that are queued, running, or still to be reported.",
    ),
    "agent inform": ListedCommand(
        where="spkg.cli.agent_ask:inform", help="Have the running agent begin a session now."
    ),
    "agent request-download": ListedCommand(
        where="spkg.cli.agent_ask:request_download",
        help="Ask the ACS for a Download; refused where it has no RequestDownload.",
    ),
    "agent kick": ListedCommand(
        where="spkg.cli.agent_ask:kick",
        help="Report a kick (Appendix D) to the ACS, and print NextURL.",
    ),
    "agent discover": ListedCommand(
        where="spkg.cli.agent_ask:discover",
        help="Show what DHCP option 43 says about the ACS; with --config, use it.",
    ),
    "agent log": ListedCommand(
        where="spkg.cli.agent_show:log_of_agent", help="Show what the agent did, the oldest first."
    ),
    "agent trace": ListedCommand(
        where="spkg.cli.agent_ask:trace", help="Keep every envelope in the log, or stop that."
    ),
    "agent support": ListedCommand(
        where="spkg.cli.agent_show:support",
        help="Write an archive for support: status, settings, log, traces.",
    ),
    "agent forget": ListedCommand(
        where="spkg.cli.agent_run:forget",
        help="Forget what the ACS has set, as a factory reset of the agent does.",
    ),
    "agent fleet": ListedCommand(
        where="spkg.cli.agent_fleet:fleet", help="Simulate devices, to find out what an ACS can do."
    ),
    "voucher": ListedCommand(where="", help="Issue, verify and apply vouchers (TR-069, Appendix C)."),
    "voucher issue": ListedCommand(
        where="vouchers.cli.issue:issue", help="Issue vouchers to one device or to many."
    ),
    "voucher prepare": ListedCommand(
        where="vouchers.cli.prepare:prepare_voucher",
        help="Write vouchers without a signature, to be signed elsewhere.",
    ),
    "voucher attach": ListedCommand(
        where="vouchers.cli.attach:attach_voucher",
        help="Complete vouchers with signatures that were made elsewhere.",
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
    "voucher renew": ListedCommand(
        where="vouchers.cli.renew:renew", help="List the Options that end soon, or issue renewals for them."
    ),
    "voucher revoke": ListedCommand(
        where="vouchers.cli.revoke:revoke", help="Issue the voucher that disables what another one enables."
    ),
    "voucher serve": ListedCommand(
        where="vouchers.cli.serve:serve", help="Issue vouchers over HTTP, from one ledger."
    ),
    "voucher ledger": ListedCommand(where="", help="Keep the books of serial numbers."),
    "voucher ledger init": ListedCommand(
        where="vouchers.cli.ledger:init_ledger",
        help="Create a ledger: an SQLite file or tables in PostgreSQL.",
    ),
    "voucher ledger list": ListedCommand(
        where="vouchers.cli.ledger:list_ledger", help="List vouchers by serial number."
    ),
    "voucher ledger export": ListedCommand(
        where="vouchers.cli.ledger:export_ledger", help="Export the whole ledger as CSV or JSON lines."
    ),
    "voucher ledger void": ListedCommand(
        where="vouchers.cli.ledger:void_serials", help="Void serial numbers: no batch issues them again."
    ),
    "voucher ledger journal": ListedCommand(
        where="vouchers.cli.books:ledger_journal",
        help="Show every change of a ledger: who, when, what and why.",
    ),
    "voucher ledger audit": ListedCommand(
        where="vouchers.cli.books:ledger_audit",
        help="Verify the journal of a ledger, and each serial number by it.",
    ),
    "voucher ledger stats": ListedCommand(
        where="vouchers.cli.books:ledger_stats",
        help="Count serial numbers by state, Option, batch and month of issue.",
    ),
    "voucher ledger migrate": ListedCommand(
        where="vouchers.cli.ledger:migrate_ledger", help="Bring a ledger of an earlier version up to date."
    ),
}
"""The commands of an installed ``spkg``; a space separates a subcommand from its group."""

main: Final = application(
    COMMANDS,
    "Build, verify and install TR-069 packages and vouchers.\n\n"
    "'spkg COMMAND --help' shows the options of a command and an example.\n\nSee: docs/tour.md",
)

if __name__ == "__main__":
    main()
