"""The schema of cwmp-1-0 at hand for every test that makes a message.

The schema is nobody's but the Broadband Forum's: ``SPKG_CWMP_SCHEMA`` names the file.  It imports the schemas
of SOAP from the network; what it refers to of them stands here.
"""

import os
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from lxml import etree

__all__ = ["CWMP_SCHEMA", "assert_valid", "schema_files"]

CWMP_SCHEMA: Final = os.environ.get("SPKG_CWMP_SCHEMA")
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING: Final = "http://schemas.xmlsoap.org/soap/encoding/"
ENVELOPE_SCHEMA: Final = f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:tns="{SOAP}"
    targetNamespace="{SOAP}">
  <xs:element name="Envelope">
    <xs:complexType>
      <xs:sequence>
        <xs:element ref="tns:Header" minOccurs="0"/>
        <xs:element ref="tns:Body"/>
      </xs:sequence>
      <xs:attribute ref="tns:encodingStyle"/>
    </xs:complexType>
  </xs:element>
  <xs:element name="Header">
    <xs:complexType>
      <xs:sequence>
        <xs:any namespace="##other" minOccurs="0" maxOccurs="unbounded" processContents="strict"/>
      </xs:sequence>
    </xs:complexType>
  </xs:element>
  <xs:element name="Body">
    <xs:complexType>
      <xs:sequence>
        <xs:any namespace="##any" minOccurs="0" maxOccurs="unbounded" processContents="strict"/>
      </xs:sequence>
    </xs:complexType>
  </xs:element>
  <xs:element name="Fault">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="faultcode" type="xs:QName"/>
        <xs:element name="faultstring" type="xs:string"/>
        <xs:element name="faultactor" type="xs:anyURI" minOccurs="0"/>
        <xs:element name="detail" minOccurs="0">
          <xs:complexType>
            <xs:sequence>
              <xs:any namespace="##any" minOccurs="0" maxOccurs="unbounded" processContents="strict"/>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
      </xs:sequence>
    </xs:complexType>
  </xs:element>
  <xs:attribute name="mustUnderstand">
    <xs:simpleType>
      <xs:restriction base="xs:boolean"><xs:pattern value="0|1"/></xs:restriction>
    </xs:simpleType>
  </xs:attribute>
  <xs:attribute name="encodingStyle" type="xs:anyURI"/>
</xs:schema>
"""
"""An envelope of SOAP 1.1, stricter than its own schema: whatever is in it has to be declared."""
ENCODING_SCHEMA: Final = f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:tns="{ENCODING}"
    targetNamespace="{ENCODING}">
  <xs:complexType name="Array">
    <xs:sequence>
      <xs:any namespace="##any" minOccurs="0" maxOccurs="unbounded" processContents="lax"/>
    </xs:sequence>
    <xs:attribute ref="tns:arrayType"/>
  </xs:complexType>
  <xs:attribute name="arrayType" type="xs:string"/>
  <xs:simpleType name="base64"><xs:restriction base="xs:base64Binary"/></xs:simpleType>
</xs:schema>
"""


def schema_files(here: Path) -> Path:
    """Write the schema into a directory, with the stand-ins beside it instead of the network."""
    assert CWMP_SCHEMA is not None
    text = Path(CWMP_SCHEMA).read_text(encoding="utf-8")
    for name, uri, stand_in in (
        ("envelope.xsd", SOAP, ENVELOPE_SCHEMA),
        ("encoding.xsd", ENCODING, ENCODING_SCHEMA),
    ):
        assert f'schemaLocation="{uri}"' in text
        text = text.replace(f'schemaLocation="{uri}"', f'schemaLocation="{name}"')
        (here / name).write_text(stand_in, encoding="utf-8")
    (found := here / "cwmp.xsd").write_text(text, encoding="utf-8")
    assert not re.search('schemaLocation="[a-z]+:', text)
    return found


@cache
def _schema() -> etree.XMLSchema:
    with tempfile.TemporaryDirectory() as here:
        return etree.XMLSchema(file=str(schema_files(Path(here))))


def assert_valid(octets: bytes) -> None:
    """Raise unless an envelope is valid by the schema; it judges nothing, as the judges say, without one.

    Messages in the namespace of a later version are judged as if they were of cwmp-1-0.
    """
    if CWMP_SCHEMA:
        octets = re.sub(rb"urn:dslforum-org:cwmp-1-\d+", b"urn:dslforum-org:cwmp-1-0", octets)
        _schema().assertValid(etree.fromstring(octets))
