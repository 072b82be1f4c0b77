"""What says who somebody is: found in refused records, and blanked before they become dead letters.

Names are known by the field they stand in, phone numbers by their looks. Every pattern here is linear in the text,
whatever the text: it runs over what a sender wrote to do harm.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from schemas.nesting import too_deep

OWNERS = """full first last middle given family real nick user customer contact member display buyer receiver
    recipient consignee person legal home cell mobile my"""
FIELDS = """name nick surname phone mobile tel telephone cell cellphone email emailaddress mail address addressline
    street contact recipient consignee idcard idnumber passport birthdate dateofbirth wechat wechatid wx wxid qq
    alipay"""
CHINESE = """姓名 名字 昵称 手机 电话 邮箱 身份证 护照 地址 住址 微信 收货人 收件人 联系人 联系方式 支付宝 出生日期"""
_FIELD = re.compile(f"(?:{'|'.join(OWNERS.split())})*(?:{'|'.join(FIELDS.split())})(?:no|number)?[0-9]*")
_CHINESE = re.compile(f"(?:{'|'.join(CHINESE.split())})(?:号码?)?[0-9]*$")

BLANK = "***"
UNREADABLE = object()

_GAP = r"[-. ()]{0,2}"
PHONE = (  # digits of any width: a mobile, with or without the country or a 0 before it; a landline; one from abroad
    rf"(?:(?<!\d)(?:(?:\+|00)?86{_GAP}|0)?[1\uff11][3-9\uff13-\uff19]\d{_GAP}\d{{4}}{_GAP}\d{{4}}(?!\d)"
    r"|(?<!\d)0(?:10|2\d|[3-9]\d\d)[- ]\d{7,8}(?!\d)"
    rf"|\+(?:{_GAP}\d){{10,15}}(?!\d))"
)
_PHONE = re.compile(PHONE)
OF_TRACES = frozenset(["traceparent", "tracestate"])  # hex, in which a phone number stands by chance
_PREFIX = re.compile(r"^(?:ce|x)[-_]", re.IGNORECASE)  # of a header
_STRING = rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
_ENTRY = re.compile(rb'("(?:[^"\\]|\\.){1,40}+")\s*+:\s*+(' + _STRING + rb"|[-+.0-9eE]++|[\[{]|)", re.DOTALL)


def is_personal(field: str) -> bool:
    """Whether a field says who somebody is: without case, `_` and `-`, whoever it is of and how many there are."""
    plain = "".join(letter for letter in field.lower() if letter.isalnum())
    return _FIELD.fullmatch(plain) is not None or _CHINESE.search(plain) is not None


def looks_like_phone(text: str) -> bool:
    """Whether a string holds a raw mobile number, in digits of any width."""
    return _PHONE.search(text) is not None


def is_phone(text: str) -> bool:
    """Whether a string is a raw phone number and nothing else: in an id in hex one stands by chance at times."""
    return _PHONE.fullmatch(text.strip()) is not None


def found_in(value: bytes, *, custom: bool = False) -> str:
    """Where in a record something personal stands (a JSON path), or "". A custom action may have a `name`."""
    allowed = frozenset(["name"]) if custom else frozenset()
    content = _parsed(value)
    return _find_in_text(value, allowed) if content is UNREADABLE else found(content, allowed)


def blank(value: bytes) -> bytes:
    """The same record without the values of personal fields and without everything that looks like a phone number.

    What is no JSON is cut off where a personal field holds more than a text or a number.
    """
    content = _parsed(value)
    return _blanked_text(value) if content is UNREADABLE else msgspec.json.encode(_blanked(content))


def blank_beside(
    key: bytes | None, headers: tuple[tuple[str, bytes], ...]
) -> tuple[bytes | None, tuple[tuple[str, bytes], ...]]:
    """A record's key and headers without phone numbers and personal values; what holds none stays as it is."""
    cleaned = tuple((_PHONE.sub(BLANK, name), _blanked_header(name, content)) for name, content in headers)
    return None if key is None else _blanked_phones(key), cleaned


def _blanked_header(name: str, content: bytes) -> bytes:
    bare = _PREFIX.sub("", name)
    if bare.lower() in OF_TRACES:
        return content
    return BLANK.encode() if is_personal(bare) else _blanked_phones(content)


def _blanked_phones(content: bytes) -> bytes:
    text = content.decode(errors="replace")
    return _PHONE.sub(BLANK, text).encode() if looks_like_phone(text) else content


def _parsed(value: bytes) -> Any:
    if too_deep(value):
        return UNREADABLE
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return UNREADABLE


def found(content: Any, allowed: frozenset[str] = frozenset()) -> str:
    """The same for what was decoded. Without recursion, like all here: the stack may be nearly used up."""
    waiting = [("$", content)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, dict):
            for key, inner in item.items():
                if looks_like_phone(key):
                    return path
                if is_personal(key) and key not in allowed:
                    return f"{path}.{key[:64]}"
                waiting.append((f"{path}.{key[:64]}", inner))
        elif isinstance(item, list):
            waiting += [(f"{path}[...]", inner) for inner in item]
        elif _is_phone(item):
            return path
    return ""


def _find_in_text(value: bytes, allowed: frozenset[str]) -> str:
    for match in _ENTRY.finditer(value):
        key = _key(match)
        if is_personal(key) and key not in allowed:
            return f"$..{key[:64]}"
    return "$" if looks_like_phone(value.decode(errors="replace")) else ""


def _blanked(content: Any) -> Any:
    root: list[Any] = [content]
    waiting: list[Any] = [root]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict):
            for field in [it for it in holder if is_personal(it) or looks_like_phone(it)]:
                del holder[field]
                holder[_PHONE.sub(BLANK, field)] = BLANK
        for at, inner in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if isinstance(inner, dict | list):
                waiting.append(inner)
            elif _is_phone(inner):
                holder[at] = _PHONE.sub(BLANK, inner) if isinstance(inner, str) else BLANK
    return root[0]


def _is_phone(item: Any) -> bool:
    if isinstance(item, int):
        return 10**10 < item < 10**14 and looks_like_phone(str(item))
    return isinstance(item, str) and looks_like_phone(item)


def _blanked_text(value: bytes) -> bytes:
    parts, at = [], 0
    for match in _ENTRY.finditer(value):
        if is_personal(_key(match)):
            parts += [value[at : match.start(2)], f'"{BLANK}"'.encode()]
            at = match.end(2) if match.group(2) not in (b"", b"[", b"{") else len(value)
            if at == len(value):
                break
    text = b"".join([*parts, value[at:]]).decode(errors="replace")
    return _PHONE.sub(BLANK, text).encode()


def _key(match: re.Match[bytes]) -> str:
    """The field's name, its escapes read."""
    try:
        return msgspec.json.decode(match.group(1), type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return match.group(1)[1:-1].decode(errors="replace")
