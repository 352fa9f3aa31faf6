meta:
  id: spkg
  title: TR-069 Signed Package Format (2Wire, Pace and Arris pkgstream)
  application: Firmware and configuration packages of CPE managed by TR-069 (CWMP)
  file-extension: [spkg, pkgstream, 2sp]
  license: Apache-2.0
  ks-version: '0.11'
  endian: be
  bit-endian: be
doc: |
  A signed package carries files to a device together with the commands that
  install them. It has four parts, one behind the other, without padding
  (E.2, Figure 8):

  1. the header: 24 octets, with the lengths of parts 2 and 4 (E.3, Table 66);
  2. the command list: commands as type, length, value (E.4, Tables 67 to 77);
  3. the signature block: one PKCS #7 SignedData (E.5);
  4. the payload: the files, found by offset and length in the commands that
     name them (E.4.3, Table 69).

  Numbers are big-endian (E.2.1). The signatures are detached and cover header
  and command list, exactly as they stand: take `signed_octets` for that, and
  `signature_block.octets` for a PKCS #7 or CMS library. The payload is
  protected through the hashes inside the commands. **A parsed package is not a
  verified one:** act on no command before a signature has been verified, and on
  no file before its hash has been compared.

  References of the form E.x and Table n are to TR-069 (May 2004), Appendix E.
  Where its text is silent, this description follows the decisions of the
  `spkg` toolkit, and says "decision" there.

  ## What a reader made from this refuses

  * another preamble (E.3) or another major version than 1; any minor version
    is read (E.3), and real packages have minor version 1;
  * a command list of 2^16 octets or more (E.3);
  * a value shorter than its fixed part, or of another length than the one the
    command has by its format (E.4.2, E.4.7 to E.4.13);
  * a path or a hash that overlaps the fixed part of its value or another field,
    or ends outside the value (decision);
  * a Version or Description that isn't UTF-8 (E.4.6), where the target language
    checks it; a path that isn't fails when it is asked for (decision);
  * a hash that isn't SHA-1 of 20 octets (Table 69: all other types are
    reserved), and a file that ends outside the payload;
  * a signature block that isn't one BER element of definite length with tag
    0x30, or is longer than 1 MiB (decision);
  * a payload that is shorter or longer than the header says (decision).

  ## What it can't or doesn't check

  * **Signature blocks of indefinite length.** The header has no length for the
    signature block, so the payload is found behind the outermost element of the
    block. With the length octet 0x80 (BER, as Bouncy Castle and NSS write it
    unless told otherwise) its end is known only after descending into all
    nested elements down to the matching end-of-contents octets, which a
    declarative description can't do well. Such packages are legal; here they
    fail at `signature_block/length_form`. Rewrite the outer element in definite
    form (the unsigned parts of the block may change freely, header, commands
    and payload stay), or use another reader.
  * Anything inside the signature block.
  * What paths say: ".." and its like are for the reader to refuse.
  * Rules between commands: Reboot as the last one (E.4.8), one digest or mode
    per file in the extensions 9256 and 9257.
  * Role and attribute numbers, and reserved flag bits, which a recipient must
    ignore (Table 69).

  ## Using it

  Types that Table 68 doesn't define must be skipped (E.4). They are kept as
  `raw_value`; real packages hold many, also below 1000. Each command has its
  number in `type_code`, the name in `command_type` where there is one, and all
  octets of its value in `value_octets`, with whatever lies between its fields.
  The payload and the contents of files are only read when asked for; the stream
  has to be seekable.

  A command list may be empty: `command_list.commands` is then absent (null, or
  an attribute that doesn't exist, as the target language has it).

  Generated readers were tried in Python and JavaScript, with version 0.11 of
  compiler and runtime. Nim can't be had: its back end lacks `valid/expr`.
doc-ref:
  - "TR-069, CPE WAN Management Protocol, DSL Forum, May 2004: Appendix E, Signed Package Format"
  - "RFC 2315, PKCS #7: Cryptographic Message Syntax Version 1.5"
seq:
  - id: header
    type: header
  - id: command_list
    size: header.command_list_length
    type: command_list
  - id: signature_block
    type: signature_block
  - id: payload_begin
    size: 0
    valid:
      expr: _io.size - _io.pos == header.payload_length
    doc: |
      No octets: marks where the payload begins, and fails unless exactly
      `payload_length` octets follow. The payload itself is an instance, so
      that up to 4 GiB aren't read into memory unasked.
instances:
  len_header:
    value: 24
    doc: The header has a fixed length.
    doc-ref: E.3
  ofs_payload:
    value: len_header + header.command_list_length + signature_block.total_length
    doc: Where the payload begins in the package; Table 69 counts File Offset from here.
  signed_octets:
    pos: 0
    size: len_header + header.command_list_length
    doc: |
      The message that the signatures are made over: header and command list,
      with whatever lies behind an End command.
    doc-ref: E.5
  payload:
    pos: ofs_payload
    size: header.payload_length
    doc: |
      All files, each at its File Offset. Nothing prescribes their order or that
      every octet belongs to a file, and two commands may share one.
    doc-ref: E.2, Table 65

types:
  header:
    doc: Fixed-length header of 24 octets.
    doc-ref: E.3, Table 66
    seq:
      - id: preamble
        -orig-id: Preamble
        contents: [0x32, 0x57, 0x49, 0x52, 0x45, 0x5f, 0x53, 0x50]
        doc: '"2WIRE_SP" in ASCII.'
      - id: major_version
        -orig-id: Major version
        type: u4
        valid: 1
        doc: Changes denote incompatible changes to the format.
      - id: minor_version
        -orig-id: Minor version
        type: u4
        doc: |
          0 in the specification; a reader should take any other, because its
          changes are compatible. Packages of fielded devices have 1.
      - id: command_list_length
        -orig-id: Command list length
        type: u4
        valid:
          max: 0xffff
        doc: Octets of the command list; less than 2^16.
      - id: payload_length
        -orig-id: Payload length
        type: u4
        doc: Octets of the payload. The signature block has no length here.

  command_list:
    doc: |
      Commands in the order in which they are carried out, up to an End command
      or to the end of the list: End may be missing.
    doc-ref: E.4, E.4.2
    seq:
      - id: commands
        type: command
        repeat: until
        repeat-until: _.command_type == command_type::end_of_list or _io.eof
        if: _io.size > 0
        doc: |
          All commands, with End itself if there is one. Absent from an empty
          list.
      - id: tail
        size-eos: true
        doc: |
          Octets behind End. They are signed with the rest, but a recipient must
          not parse them.
        doc-ref: E.4.2

  command:
    doc: One instruction or package parameter, `length + 8` octets long.
    doc-ref: E.4, Tables 67 and 68
    seq:
      - id: type_code
        -orig-id: Type
        type: u4
        doc: The command's number, known or not; see `command_type`.
      - id: length
        -orig-id: Length
        type: u4
        valid:
          expr: |
            has_empty_value ? _ == 0 or _root.header.minor_version > 0 :
            has_integer_value ? _ == 4 or _ > 4 and _root.header.minor_version > 0 :
            has_version_value ? _ >= 4 and _ % 4 == 0 :
            has_attributes_value ? _ >= 12 and _ % 4 == 0 :
            true
        doc: |
          Octets of the value. Checked where the format of the value fixes it,
          which a later minor version may have made longer (decision),
          down to arrays, which are neither empty (decision) nor broken off.
      - id: value
        -orig-id: Value
        size: length
        type:
          switch-on: value_form
          cases:
            'command_type::end_of_list': empty_value
            'command_type::extract_file': extract_add_value
            'command_type::extract_versioned_file': extract_add_value
            'command_type::add_file': extract_add_value
            'command_type::add_versioned_file': extract_add_value
            'command_type::remove_file': remove_value
            'command_type::remove_versioned_file': remove_value
            'command_type::remove_sub_tree': remove_value
            'command_type::move_file': move_value
            'command_type::move_versioned_file': move_value
            'command_type::version': string_value
            'command_type::description': string_value
            'command_type::recoverable_timeout': timeout_value
            'command_type::unrecoverable_timeout': timeout_value
            'command_type::initial_timeout': timeout_value
            'command_type::initial_activity_timeout': timeout_value
            'command_type::reboot': empty_value
            'command_type::format_file_system': empty_value
            'command_type::minimum_version': version_value
            'command_type::maximum_version': version_value
            'command_type::role': role_value
            'command_type::minimum_non_volatile_storage': storage_value
            'command_type::minimum_volatile_storage': storage_value
            'command_type::required_attributes': required_attributes_value
            'command_type::strong_digests': strong_digests_value
            'command_type::file_modes': file_modes_value
            'command_type::metadata': metadata_value
            _: raw_value
    instances:
      command_type:
        value: type_code
        enum: command_type
        doc: The command's name, if the number is in Table 68 or one of our extensions.
        doc-ref: E.4.1, Table 68
      is_vendor_specific:
        value: type_code >= 1000 and type_code <= 9999
        doc: In the range that Table 68 leaves to vendors.
        doc-ref: E.4.1, Table 68
      has_empty_value:
        value: >-
          command_type == command_type::end_of_list
          or command_type == command_type::reboot
          or command_type == command_type::format_file_system
        doc-ref: E.4.2, E.4.8, E.4.9
      has_integer_value:
        value: >-
          command_type == command_type::recoverable_timeout
          or command_type == command_type::unrecoverable_timeout
          or command_type == command_type::initial_timeout
          or command_type == command_type::initial_activity_timeout
          or command_type == command_type::minimum_non_volatile_storage
          or command_type == command_type::minimum_volatile_storage
        doc-ref: E.4.7, Table 72; E.4.12, Table 76
      has_version_value:
        value: >-
          command_type == command_type::minimum_version
          or command_type == command_type::maximum_version
        doc-ref: E.4.10, Table 74
      has_attributes_value:
        value: command_type == command_type::required_attributes
        doc-ref: E.4.13, Table 77
      value_mark:
        pos: _io.pos
        size: 8
        if: >-
          length >= 8 and (command_type == command_type::strong_digests
          or command_type == command_type::file_modes or command_type == command_type::metadata)
        doc: |
          The first eight octets of a value of type 9256 to 9258, looked at
          before the value is read. (`_io.pos` is right because `value_form`,
          needed in between, is what asks for this first, and it is kept.)
      is_foreign:
        value: >-
          command_type == command_type::strong_digests
          ? (length < 8 or value_mark != [0x53, 0x50, 0x4b, 0x47, 0x2d, 0x44, 0x30, 0x31])
          : command_type == command_type::file_modes
          ? (length < 8 or value_mark != [0x53, 0x50, 0x4b, 0x47, 0x2d, 0x4d, 0x30, 0x31])
          : command_type == command_type::metadata
          ? (length < 8 or value_mark != [0x53, 0x50, 0x4b, 0x47, 0x2d, 0x54, 0x30, 0x31])
          : false
        doc: |
          Has the number of one of our extensions without their mark ("SPKG-D01",
          "SPKG-M01", "SPKG-T01"): another vendor's command, kept as `raw_value`.
      value_form:
        value: 'is_foreign ? command_type::reserved_23 : command_type'
        doc: |
          The command type whose format the value has; a reserved one, without a
          format, stands for a foreign command.
      value_octets:
        io: value._io
        pos: 0
        size-eos: true
        doc: The whole value as it stands, with the octets between its fields.

  empty_value:
    doc: No value at all.
    doc-ref: E.4.2, E.4.8, E.4.9

  extract_add_value:
    doc: |
      Extract File, Extract Versioned File, Add File, Add Versioned File: put a
      file of the payload at a path; add does nothing where there is a file.

      Path and hash lie where their offsets say, which needn't be directly
      behind the fixed part: real packages keep undocumented fields there, up to
      octet 100 (as it seems a 64-bit file offset at 36, a 64-bit file length at
      44, a 32-bit mode at 52).
    doc-ref: E.4.3, Table 69
    seq:
      - id: flags
        -orig-id: Flags
        type: u4
      - id: path_offset
        -orig-id: Path Offset
        type: u4
        valid:
          expr: _ >= len_fixed and _ <= _io.size
      - id: path_length
        -orig-id: Path Length
        type: u4
        valid:
          expr: _ <= _io.size - path_offset
      - id: hash_type
        -orig-id: Hash Type
        type: u4
        enum: hash_type
        valid: hash_type::sha_1
      - id: hash_offset
        -orig-id: Hash Offset
        type: u4
        valid:
          expr: _ >= len_fixed and _ <= _io.size
      - id: hash_length
        -orig-id: Hash Length
        type: u4
        valid:
          expr: >-
            _ == 20 and _ <= _io.size - hash_offset
            and (path_offset + path_length <= hash_offset or hash_offset + _ <= path_offset)
        doc: 20, inside the value, and apart from the path.
      - id: file_offset
        -orig-id: File Offset
        type: u4
        valid:
          expr: _ <= _root.header.payload_length
        doc: From the beginning of the payload.
      - id: file_length
        -orig-id: File Length
        type: u4
        valid:
          expr: _ <= _root.header.payload_length - file_offset
    instances:
      len_fixed:
        value: 32
      is_unsafe:
        value: (flags & 1) != 0
        doc: |
          If a later command fails after this one has succeeded, the device is
          left in an unsafe state. All other flag bits are to be ignored.
      path:
        pos: path_offset
        size: path_length
        type: str
        encoding: UTF-8
        doc: |
          In UNIX form (E.2.1); UTF-8 by decision, the specification names no
          encoding.
      file_hash:
        -orig-id: Hash
        pos: hash_offset
        size: hash_length
        doc: SHA-1 of the file's contents.
      file_contents:
        io: _root._io
        pos: _root.ofs_payload.as<u8> + file_offset
        size: file_length
        doc: The file itself, in the payload. Compare its hash before use.

  remove_value:
    doc: |
      Remove File, Remove Versioned File, Remove Sub-Tree: the path of a file, or
      of a directory with all that is in it.
    doc-ref: E.4.4, Table 70
    seq:
      - id: flags
        -orig-id: Flags
        type: u4
      - id: path_offset
        -orig-id: Path Offset
        type: u4
        valid:
          expr: _ >= len_fixed and _ <= _io.size
      - id: path_length
        -orig-id: Path Length
        type: u4
        valid:
          expr: _ <= _io.size - path_offset
    instances:
      len_fixed:
        value: 12
      is_unsafe:
        value: (flags & 1) != 0
        doc: As with extract and add.
      path:
        pos: path_offset
        size: path_length
        type: str
        encoding: UTF-8

  move_value:
    doc: Move File, Move Versioned File, to another name or directory.
    doc-ref: E.4.5, Table 71
    seq:
      - id: flags
        -orig-id: Flags
        type: u4
      - id: source_path_offset
        -orig-id: Source Path Offset
        type: u4
        valid:
          expr: _ >= len_fixed and _ <= _io.size
      - id: source_path_length
        -orig-id: Source Path Length
        type: u4
        valid:
          expr: _ <= _io.size - source_path_offset
      - id: destination_path_offset
        -orig-id: Destination Path Offset
        type: u4
        valid:
          expr: _ >= len_fixed and _ <= _io.size
      - id: destination_path_length
        -orig-id: Destination Path Length
        type: u4
        valid:
          expr: >-
            _ <= _io.size - destination_path_offset
            and (source_path_offset + source_path_length <= destination_path_offset
            or destination_path_offset + _ <= source_path_offset)
        doc: Inside the value, and apart from the source path.
    instances:
      len_fixed:
        value: 20
      is_unsafe:
        value: (flags & 1) != 0
        doc: As with extract and add.
      source_path:
        pos: source_path_offset
        size: source_path_length
        type: str
        encoding: UTF-8
      destination_path:
        pos: destination_path_offset
        size: destination_path_length
        type: str
        encoding: UTF-8

  string_value:
    doc: |
      Version or Description of the package, for display and logs. Not
      terminated; escape control characters before showing it.
    doc-ref: E.4.6
    seq:
      - id: text
        size-eos: true
        type: str
        encoding: UTF-8

  timeout_value:
    doc: |
      A limit for the download: of the whole (types 12 to 14), or of the time
      without an octet (15), in the state of Figure 9 that the type names.
    doc-ref: E.4.7, Tables 72 and 73
    seq:
      - id: timeout
        -orig-id: Timeout
        type: u4
        doc: Seconds; 0 is no limit.

  version_value:
    doc: |
      Lowest or highest software version that the package applies to, as an array
      compared element by element: 1.0.20.3 is [1, 0, 20, 3].
    doc-ref: E.4.10, Table 74
    seq:
      - id: version
        -orig-id: Version
        type: u4
        repeat: eos

  role_value:
    doc: What the package is for.
    doc-ref: E.4.11, Table 75
    seq:
      - id: role_code
        -orig-id: Role
        type: u4
      - id: arguments
        size-eos: true
        valid:
          expr: _.length == 0 or role_code == 0 or role_code > 4
        doc: |
          Vendor-specific, behind a vendor-specific role. The standard roles have
          none; with a reserved one they are kept unexplained.
    instances:
      role:
        value: role_code
        enum: standard_role
      is_vendor_specific:
        value: (role_code >> 24) == 0xff
      oui:
        value: role_code & 0xffffff
        if: is_vendor_specific
        doc: Organizationally unique identifier of the vendor who defined the role.

  storage_value:
    doc: Minimum Non-Volatile Storage, Minimum Volatile Storage Size.
    doc-ref: E.4.12, Table 76
    seq:
      - id: storage_size
        -orig-id: Storage Size
        type: u4
        doc: Octets the device has to have.

  required_attributes_value:
    doc: |
      The device must have one of these values of an attribute. Ignored where the
      entity or the class is unknown to it; no standard classes are defined.
    doc-ref: E.4.13, Table 77
    seq:
      - id: defining_entity
        -orig-id: Defining Entity
        type: u4
        doc: 0 for standard definitions; 0xFF and an OUI for a vendor's.
      - id: attribute_class
        -orig-id: Class
        type: u4
      - id: attributes
        -orig-id: Attribute Array
        type: u4
        repeat: eos
    instances:
      is_vendor_specific:
        value: (defining_entity >> 24) == 0xff
      oui:
        value: defining_entity & 0xffffff
        if: is_vendor_specific

  strong_digests_value:
    doc: |
      Extension of the `spkg` toolkit, a vendor-specific command by Table 68 that
      other readers skip: a second digest for each extract and add command before
      End, in their order. It is signed with the list. The reader has to compare
      the number of digests with that of the commands.
    seq:
      - id: mark
        contents: SPKG-D01
      - id: algorithm
        type: u4
        enum: digest_algorithm
        valid: digest_algorithm::sha_256
      - id: digests
        size: 32
        repeat: eos

  file_modes_value:
    doc: |
      Extension of the `spkg` toolkit, as 9256: a file mode for each extract and
      add command before End, in their order. The format itself has no modes.
    seq:
      - id: mark
        contents: SPKG-M01
      - id: modes
        type: u4
        valid:
          max: 0x1ff
        repeat: eos
        doc: POSIX permission bits, at most 0777 in octal; 0 is unstated.

  metadata_value:
    doc: |
      Extension of the `spkg` toolkit, as 9256: free keys with strings, for people
      and programs; no recipient acts on them.
    seq:
      - id: mark
        contents: SPKG-T01
      - id: entries
        size-eos: true
        doc: |
          One JSON object of strings in UTF-8, at most 16 KiB, its keys in the
          order of their octets and without blanks. In any other form it is to be
          skipped like an unknown command.

  raw_value:
    doc: |
      Value of a command that Table 68 doesn't define (23 and 24 are there, but
      reserved), or of a foreign 9256 to 9258. A recipient must ignore the command
      and go on with the next; one that shows packages should show it, because
      what it skips may have been an action.
    doc-ref: E.4
    seq:
      - id: octets
        size-eos: true

  signature_block:
    doc: |
      One PKCS #7 ContentInfo with one SignedData: zero or more signatures, SHA-1
      with RSA, over `signed_octets`, which it doesn't contain. Its first octet is
      the tag (E.5: a single octet), 0x30, a SEQUENCE; then comes its length,
      here in definite form with at most four length octets. Not required to be
      the shortest form, because files are seen that aren't DER further inside.

      A block without signatures is always the same 37 octets:
      `302306092a864886f70d010702a01630140201013100300b06092a864886f70d0107013100`.

      E.5 lets a recipient assume no more than 150 kilobytes for header, command
      list and block together. Fielded devices take more, and this description
      takes a block up to 1 MiB: enough for any real one, and a bound on what a
      forged length can ask for.
    doc-ref: E.5
    seq:
      - id: tag
        type: u1
        valid: 0x30
      - id: length_form
        type: u1
        valid:
          expr: _ < 0x80 or (_ > 0x80 and _ <= 0x84)
        doc: |
          Below 0x80: the length itself. 0x81 to 0x84: the number of length octets
          that follow. 0x80 is the indefinite form of BER, which can't be framed
          here (see above) and fails.
      - id: length_1
        type: u1
        if: length_form == 0x81
      - id: length_2
        type: u2
        if: length_form == 0x82
      - id: length_3
        type: b24
        if: length_form == 0x83
        valid:
          max: 0xffffb
      - id: length_4
        type: u4
        if: length_form == 0x84
        valid:
          max: 0xffffa
      - id: content
        size: content_length
        doc: |
          Inside of the ContentInfo: the object identifier of SignedData, and the
          SignedData under tag 0xA0. Left to an ASN.1 reader.
    instances:
      content_length:
        value: >-
          length_form == 0x81 ? length_1.as<u4> :
          length_form == 0x82 ? length_2.as<u4> :
          length_form == 0x83 ? length_3.as<u4> :
          length_form == 0x84 ? length_4.as<u4> :
          length_form.as<u4>
      total_length:
        value: '(length_form > 0x80 ? length_form - 0x7e : 2) + content_length'
        doc: Octets of the whole block, tag and length included.
      octets:
        pos: _root.len_header + _root.header.command_list_length
        size: total_length
        doc: 'The whole block, for a PKCS #7 or CMS library.'

enums:
  command_type:
    0:
      id: end_of_list
      -orig-id: End
      doc: E.4.2. Stops the command list.
    1:
      id: extract_file
      doc: E.4.3. Puts a file in the place of any of the same name.
    2:
      id: extract_versioned_file
      doc: E.4.3. The same, and removes those of the same base and any extension.
    3:
      id: add_file
      doc: E.4.3. Puts a file where there is none of that name.
    4:
      id: add_versioned_file
      doc: E.4.3. Puts a file where there is none of that base.
    5:
      id: remove_file
      doc: E.4.4
    6:
      id: remove_versioned_file
      doc: E.4.4. All files of the same base.
    7:
      id: remove_sub_tree
      doc: E.4.4
    8:
      id: move_file
      doc: E.4.5
    9:
      id: move_versioned_file
      doc: E.4.5. One file of the same base; others are deleted.
    10:
      id: version
      doc: E.4.6
    11:
      id: description
      doc: E.4.6
    12:
      id: recoverable_timeout
      doc: E.4.7
    13:
      id: unrecoverable_timeout
      doc: E.4.7
    14:
      id: initial_timeout
      doc: E.4.7
    15:
      id: initial_activity_timeout
      doc: E.4.7
    16:
      id: reboot
      doc: E.4.8. The last command, apart from End.
    17:
      id: format_file_system
      doc: E.4.9
    18:
      id: minimum_version
      doc: E.4.10
    19:
      id: maximum_version
      doc: E.4.10
    20:
      id: role
      doc: E.4.11
    21:
      id: minimum_non_volatile_storage
      doc: E.4.12
    22:
      id: minimum_volatile_storage
      -orig-id: Minimum Volatile Storage Size
      doc: E.4.12
    23:
      id: reserved_23
      doc: Without a meaning; skipped like an unknown type.
    24:
      id: reserved_24
      doc: Without a meaning; skipped like an unknown type.
    25:
      id: required_attributes
      doc: E.4.13
    9256:
      id: strong_digests
      doc: Extension of the spkg toolkit; with the mark "SPKG-D01" only.
    9257:
      id: file_modes
      doc: Extension of the spkg toolkit; with the mark "SPKG-M01" only.
    9258:
      id: metadata
      doc: Extension of the spkg toolkit; with the mark "SPKG-T01" only.
  hash_type:
    1:
      id: sha_1
      doc: Table 69. The only one that is defined.
  standard_role:
    1: software_upgrade
    2: software_recovery
    3: web_content
    4: vendor_configuration
  digest_algorithm:
    1: sha_256
