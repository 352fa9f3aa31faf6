"""What an ACS calls, as XML: the methods that tests use most."""

from typing import Final

from tests.support.acs import ScriptedAcs, request

__all__ = [
    "ROOT",
    "arguments",
    "download",
    "get_values",
    "set_attributes",
    "set_values",
    "told_keys",
    "upload",
]

ROOT: Final = "InternetGatewayDevice."


def arguments(**values: object) -> str:
    return "".join(f"<{name}>{value}</{name}>" for name, value in values.items())


def download(
    key: str = "d1",
    url: str = "http://files.example/p.spkg",
    delay: int = 0,
    kind: str = "1 Firmware Upgrade Image",
) -> bytes:
    return request(
        "Download",
        arguments(
            CommandKey=key,
            FileType=kind,
            URL=url,
            Username="",
            Password="",
            FileSize=0,
            TargetFileName="",
            DelaySeconds=delay,
            SuccessURL="",
            FailureURL="",
        ),
    )


def set_values(*pairs: tuple[str, str], key: str = "k1", kind: str = "string") -> bytes:
    members = "".join(
        f'<ParameterValueStruct><Name>{ROOT}{name}</Name><Value xsi:type="xsd:{kind}">{value}</Value>'
        "</ParameterValueStruct>"
        for name, value in pairs
    )
    return request(
        "SetParameterValues",
        f'<ParameterList soapenc:arrayType="cwmp:ParameterValueStruct[{len(pairs)}]">{members}'
        f"</ParameterList><ParameterKey>{key}</ParameterKey>",
    )


def set_attributes(name: str, notification: int) -> bytes:
    return request(
        "SetParameterAttributes",
        '<ParameterList soapenc:arrayType="cwmp:SetParameterAttributesStruct[1]">'
        f"<SetParameterAttributesStruct><Name>{ROOT}{name}</Name><NotificationChange>1</NotificationChange>"
        f"<Notification>{notification}</Notification><AccessListChange>0</AccessListChange>"
        '<AccessList soapenc:arrayType="xsd:string[0]"/></SetParameterAttributesStruct></ParameterList>',
    )


def told_keys(acs: ScriptedAcs) -> list[str | None]:
    return [post.text("CommandKey") for post in acs.posts if post.method == "TransferComplete"]


def get_values(*names: str) -> bytes:
    members = "".join(f"<string>{ROOT}{name}</string>" for name in names)
    counted = f'soapenc:arrayType="xsd:string[{len(names)}]"'
    return request("GetParameterValues", f"<ParameterNames {counted}>{members}</ParameterNames>")


def upload(key: str = "u1", url: str = "http://files.example/log", kind: str = "2 Vendor Log File") -> bytes:
    return request(
        "Upload",
        arguments(CommandKey=key, FileType=kind, URL=url, Username="", Password="", DelaySeconds=0),
    )
