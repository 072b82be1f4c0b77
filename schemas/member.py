"""A member's state: scalars and packed bytes, because a dict or list per member costs ten times the time and memory.

A new field goes last, with a default, and `STATE_VERSION` goes up by one; code refuses states newer than itself.
Moments are milliseconds, 0 = never. Days are programme days since 1970-01-01, months year x 12 + month - 1.
Packed fields are rows of one `struct` layout, little endian; the layouts stand beside the fields. Rows of check-ins
and comebacks end with the names that `processors.origins` adds: where the action counted.
"""

from __future__ import annotations

import struct

import msgspec
from msgspec import Struct

STATE_VERSION = 4

LOT = struct.Struct("<QQB")  # end, active points, bits of the warnings passed
PENDING = struct.Struct("<QHQQI")  # due, earning month, points, offset and index of the entry that earned it
CHECK_IN = struct.Struct("<HIBIQI")  # day, ms into it, factor paid + 16 x product of the others, base, offset and
# index of the entry; origin
COMEBACK = struct.Struct("<QQIQI")  # own action before, own action that came back, points paid, offset, index; origin
SPEND = struct.Struct("<Hq")  # month, net spend in minor units
ORDER = struct.Struct("<8sQqqQIBBQI")  # keyed hash of order_id, moment, amount, counted, points it gives now (less
# what was taken back), points per unit in thousandths, factor, flags, offset and index of its entry
REFUNDED = struct.Struct("<8sqqqQ")  # order, refunded in all, without lines, counted with lines, latest refund
EXCLUDED = struct.Struct("<8sI")  # an order, crc32 of a category of its lines that did not count
FIRST = struct.Struct("<8sBH")  # an order that may be the first one, its factor if it is, days in which it can move;
# origin
CUSTOM = struct.Struct("<IHB")  # crc32 of the name, day, how many counted
PAID = struct.Struct("<QQ")  # a time of paid membership
REFUND = struct.Struct("<8sQqqQI")  # waits for its order: order, moment, amount, counted by lines (-1 = without lines),
# offset and index of its record; origin, then its lines: crc32 of the category, amount
PLACE = struct.Struct("<IHQ")  # crc32 of "r:region" or "g:group", newest own day there, bitmap of 64 days back from it

DONE = struct.Struct("<IQ")  # crc32 of the task's name, moment since which it is done

ITEM_SEEN = struct.Struct("<IQB")  # crc32 of item_id, moment x 4 + rung (0 browse, 1 like, 2 comment), place
BOUGHT_ITEM = struct.Struct("<IQQB")  # crc32 of sku, moment, offset of the order's entry, place
SETTLED_ITEM = struct.Struct("<I")  # crc32 of item_id

BADGE = struct.Struct("<IIQQI")  # crc32 of the name, which (of boards), since (0 = taken back), offset and index of
# the fact
BADGE_COUNT = struct.Struct("<IH")  # crc32 of the name, actions counted for it
TALENT = struct.Struct("<IHQ")  # day, day ends in a row with a high index up to it, when the row may be complete

MESSAGE_SEEN = struct.Struct("<Q")  # moment of a message
MESSAGE_DAY = struct.Struct("<H")  # messages of a programme day
EARNED_DAY = struct.Struct("<H")  # points that are not of purchases of an active day, the newest first

RISE = struct.Struct("<Qb")  # moment, steps of the level, below 0 = it fell
KNOWN = struct.Struct("<I")  # crc32 of a device or of a telephone's hash, the last seen first
INVITED = struct.Struct("<IB")  # crc32 of the invited member; bits: its first order was fully refunded, something of
# the referrer's was seen with it
GROWTH_DAY = struct.Struct("<HiH")  # day, base points x 2 (+ 1 = a check-in), community activity in thousandths
GROWTH_MONTH = struct.Struct("<Hq")  # month, base points of days no longer kept one by one
LEVEL_FROM = struct.Struct(
    "<HBHIB"
)  # day to whose end it was judged for good, level earned then, days missed in a row,
# check-ins in a row, whether in the top at its end
LEVEL_CHANGE = struct.Struct("<QHBBqqBBQI")  # moment, day, level before and after, S and G (minor units), streak, kind;
# offset and index of the fact
LEVEL_STEP = struct.Struct("<QQ")  # [from, until) of a step of bonus by referrals
TOP = struct.Struct("<HB")  # day from whose end on a member is in the top (1) or not (0)

NEVER = 2**62
"""A moment that no clock reaches."""
REFERRED = struct.Struct("<8s")  # the first order as the referrer knows it
ECHO_DAYS = struct.Struct("<HH")  # programme day, answers and comments of others on it
ECHO_FROM = struct.Struct("<HI")  # newest day on which a member answered, crc32 of its id
BESIDE_TIER = struct.Struct("<BBQQIQ")  # dimension and tier by their numbers, moment entered, offset and index of the
# fact, the latest moment at which one of its reasons ended; the home region as `processors.origins` adds names
REASON = struct.Struct("<BB8sQQ")  # dimension, kind, which one, moments [from, until), until 0 = not known
CASE = struct.Struct("<8sBBQQQQ")  # hash of case_id, kind, severity; moments: opened, resolved, unresolved, and the
# latest cart or browsing before it was opened
BROWSED = struct.Struct("<Q")  # moment of a browse

DAY_WEIGHTS = 57  # days that the activity score looks back
DAY_COUNTS = 32  # days for which caps are remembered: the horizon and the day it begins in
DAY_BITS = 64  # days in a bitmap; bit i is the day i days before `today`
ACTIVE_DAYS = 400  # days of which it is known whether they were active: the newest in `active_bits`
BROWSED_MOST = 10  # browses a programme may ask for


class Beside(Struct, array_like=True, gc=False):
    """What is known of warnings beside the ladders; most members have none of it."""

    tiers: bytes = b""  # rows of BESIDE_TIER
    reasons: bytes = b""  # rows of REASON
    cases: bytes = b""  # rows of CASE, in the order of arrival
    score: int = 0  # the last one given x 10
    score_at: int = 0
    profiling_at: int = 0  # the latest consent to profiling
    profiling: int = 0  # 1 = refused
    month: int = 0  # the next month at whose close its spend is judged


class MemberState(Struct, array_like=True, gc=False):
    """Everything remembered of one member, except full pages of ids."""

    version: int = STATE_VERSION
    ordinal: int = 0  # order of first sight in the partition
    armed: int = 0  # where its timer entry stands
    profile_region: str = ""
    profile_at: int = 0
    join_region: str = ""
    join_at: int = 0
    closed_at: int = 0
    # points
    issued: int = 0
    active: int = 0
    pending: int = 0
    lots: bytes = b""  # active points by their end, nearest first, but for those of `lot_end`
    pendings: bytes = b""
    # days: everything below is relative to `today`, the newest programme day of an accepted action
    today: int = 0
    active_bits: int = 0  # days with an own action
    check_in_bits: int = 0
    check_in_run: int = 0  # length of the run of check-ins that ends on the day just older than the bitmap
    check_ins: bytes = b""
    counts: bytes = b""  # DAY_COUNTS x (messages counted, shares counted), today first, each at most 255
    weights: bytes = b""  # DAY_WEIGHTS x u16 thousandths, today first, each at most the day's cap
    score_older: int = 0  # the score of all days before `today`, in thousandths x 10^6
    # silence
    first_own: int = 0
    last_own: int = 0
    comebacks: bytes = b""
    comeback_year: int = 0
    comeback_count: int = 0  # comebacks of that year no longer in `comebacks`
    # orders
    last_purchase: int = 0
    spend: bytes = b""
    orders: bytes = b""
    # warning tiers: gravity code (0 = none), moment entered, offset and index of the fact
    presence: int = 0
    presence_at: int = 0
    presence_offset: int = 0
    presence_index: int = 0
    buying: int = 0
    buying_at: int = 0
    buying_offset: int = 0
    buying_index: int = 0
    # distinct members
    places: bytes = b""
    # ids seen: the open page, its newest moment; numbers of the full pages that live
    ids: bytes = b""
    ids_at: int = 0
    page_first: int = 0
    page_count: int = 0
    # the home region each tier was entered under: it leaves under the same one, so sums by region hold
    presence_region: str = ""
    buying_region: str = ""
    # the lot of the latest end, which nearly every entry joins
    lot_end: int = 0
    lot_points: int = 0
    first_origin: bytes = b""  # of the action at `first_own`
    last_present: int = 0  # the latest own action that ends silence
    lot_warned: int = 0
    spent: int = 0
    expired: int = 0
    reversed: int = 0  # taken back by refund, staff or undone referral
    debt: int = 0
    refunded: bytes = b""  # of orders with refunds
    refunds: bytes = b""  # those that wait for their order, oldest first
    older_purchase: int = 0  # the newest order that left the list and is not fully refunded
    dropped_until: int = 0  # the newest order that left the list for the limit of its length
    customs: bytes = b""  # how many custom actions of a day counted
    birthday: int = 0  # month x 100 + day
    birthday_changed: int = 0
    paid: bytes = b""  # times of paid membership, oldest first
    first_order_key: bytes = b""  # the first order
    first_order_at: int = 0
    first_order_over: int = 0  # 1 = no other order becomes first
    first_order_origins: bytes = b""  # rows of FIRST: orders that may still be corrected
    later: int = 0  # when the next thing is due that seldom changes; 0 = none, -1 = look again
    # tasks: what an action before `tasks_until` may still count for
    first_at: int = 0  # the earliest action of any kind
    tasks_until: int = NEVER
    tasks: bytes = b""  # what `processors.tasks` keeps of tasks whose windows are open
    tasks_look: int = 0  # when something in it can no longer change
    tasks_done: bytes = b""  # rows of DONE: tasks done that do not begin anew
    # the item ladder
    ladder: bytes = b""  # rows of ITEM_SEEN in the order of arrival
    ladder_buys: bytes = b""
    ladder_climbs: bytes = b""  # what `processors.rungs` said of items liked after a browse
    ladder_items: bytes = b""  # items that were paid for good
    ladder_places: bytes = b""  # regions and groups that rows name by number
    badges: bytes = b""
    badge_counts: bytes = b""
    talent: bytes = b""
    redemptions: bytes = b""  # what `processors.redeem` keeps of requests and answers
    cancels: bytes = b""  # of redemptions that have not come yet
    # who invited the member, and what that one was told; whom the member invited
    referrer: str = ""
    referred_by: bytes = b""  # REFERRED: the order that completed it; empty = nothing did
    phone_hash: str = ""
    referrals: bytes = b""  # what `processors.referral` keeps of those invited
    echo_days: bytes = b""  # rows of ECHO_DAYS, oldest first
    echo_from: bytes = b""  # rows of ECHO_FROM, the newest last
    # suspicion: points of the day `today` that are not of purchases, since `day_from`, and of the active days before
    day_from: int = 0
    day_points: int = 0
    earned: bytes = b""
    message_at: int = 0  # the newest message
    messages_near: bytes = b""  # rows of MESSAGE_SEEN: the last that arrived, the last one last
    messages_day: int = 0  # the newest programme day with messages x 65,536 + its messages
    rises: bytes = b""  # of the level within the hours that suspicion looks at
    known: bytes = b""  # devices and telephones
    joins_day: int = 0  # programme day x 65,536 + those invited who joined in it
    invited: bytes = b""  # the last invited
    holds: bytes = b""  # what `processors.held` keeps of open holds
    # levels
    level: int = 0  # base level as told, its place in the ladder
    level_at: int = 0
    level_bonus: int = 0  # steps above it as told
    level_due: int = 0  # when it may change or be warned of, were nothing to happen
    level_from: bytes = b""
    level_changes: bytes = b""
    level_warned: int = 0  # day of the last warning
    level_steps: bytes = b""
    level_tops: bytes = b""
    level_seen: int = 0  # the last day at whose end it was looked whether the member is in the top
    level_watch: int = 0  # the next day end at which it matters
    growth: int = 0  # base points ever
    growth_kept: int = 0  # those of them in `growth_days` and `growth_months`: the rest is of `today`
    growth_next: int = 0  # where the next standard may be met; 0 = look
    spend_next: int = 0  # net spend until the next standard may be met, minor units
    community: int = 0  # weights of `today`, thousandths
    growth_days: bytes = b""
    growth_months: bytes = b""
    adjusts: bytes = b""  # what `processors.adjust` keeps of entries of staff
    opening: bytes = b""  # what `processors.opening` keeps of what the member brought along
    opened_joined: int = 0  # the `joined_at` it brought along
    messages_before: bytes = b""  # rows of MESSAGE_DAY: the days before that of `messages_day`, the latest first
    excluded: bytes = b""  # rows of EXCLUDED: orders of the list with lines that did not count
    # warnings beside the ladders
    active_older: bytes = b""  # bitmap of the days just older than `active_bits`, little endian
    blue_day: int = 0  # at no day's end before that one blue changes without an action; 0 = at none
    rhythm: int = 0  # days of silence after which rhythm comes; 0 = never
    carted: int = 0  # the latest add_to_cart
    browsed: bytes = b""  # rows of BROWSED: the latest, the newest first
    beside: Beside | None = None


def tier_codes(state: MemberState) -> list[int]:
    """The numbers of all warning tiers held, from 1, for whoever only counts them."""
    rows, at = state.beside.tiers if state.beside else b"", 0
    codes = [code for code in (state.presence, state.buying) if code]
    while at < len(rows):  # a row ends with the length of what names its region, and that
        codes.append(BESIDE_TIER.unpack_from(rows, at)[1])
        at += BESIDE_TIER.size
        at += 2 + int.from_bytes(rows[at : at + 2], "little")
    return codes


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(MemberState).decode
