"""What Redis does in one step each: Lua, by Redis's own clock, in µs.

    turn:KEY        hash of an open turn: owner ("" when released), at (acceptance), thread, record
                    (JSON of the question, no text), tries, mN (ts of part N);
                    of a settled one: outcome
    open            open turns by the end of their lease, 0 when released
    thread:T:C:TS   open turns of one thread that are not released, in the order of their keys
    line            open turns that wait for a place, by acceptance
    places          open turns that have one
    asked:T:C:TS    people who have asked in a thread, by when they did last
    first:T:C:TS    hash of the same people: the ts of their first question
    peers           processes by their last sign of life
    since           when the prefix came into use
    lost            for some seconds after Redis came back empty while processes were at work

`ledger_scripts` has those of the budgets.
Every key begins with the prefix, KEYS[1], and goes away by itself. Keys are made up inside of the
scripts, which a Redis Cluster would not allow: one Redis, with or without replicas, is meant.
"""

from __future__ import annotations

from typing import Final

from bot.store import ASKED_DAYS, ASKERS, CLAIM_HOURS

_BASICS: Final = f"""
local P, ME, KEPT_S, ASKED_S = KEYS[1], ARGV[1], {CLAIM_HOURS * 3_600}, {ASKED_DAYS * 86_400}
local time = redis.call('TIME')
local NOW = time[1] * 1000000 + time[2]
"""

_SINCE: Final = """
-- For as long as a lease: by then every process that lives has told again what is under way.
local function since(lease_us)
    if redis.call('SET', P .. 'since', NOW, 'NX', 'EX', 3600) then
        redis.call('SET', P .. 'lost', 1, 'PX', math.ceil(lease_us / 1000))
    end
    return redis.call('GET', P .. 'since')
end
"""

_TURNS: Final = (
    _SINCE
    + """
local function turn(key) return P .. 'turn:' .. key end

local function put(zset, score, key)
    redis.call('ZADD', P .. zset, score, key)
    redis.call('EXPIRE', P .. zset, KEPT_S)
end

local function begin(key, lease_us, at, thread, record)
    redis.call('HSET', turn(key), 'owner', ME, 'at', at, 'thread', thread, 'record', record)
    redis.call('EXPIRE', turn(key), KEPT_S)
    put('open', NOW + lease_us, key)
    put('thread:' .. thread, 0, key)
end

local function make_room(key, thread)
    redis.call('ZREM', P .. 'line', key)
    redis.call('ZREM', P .. 'places', key)
    redis.call('ZREM', P .. 'thread:' .. thread, key)
end

local function tell(kind, where)
    local team, channel, ts = string.match(where, '^([^:]*):([^:]*):([^:]*)')
    redis.call('PUBLISH', P .. 'news', cjson.encode({ME, kind, team, channel, ts}))
end

local function close(key, outcome)
    local thread = redis.call('HGET', turn(key), 'thread')
    redis.call('DEL', turn(key))
    redis.call('HSET', turn(key), 'outcome', outcome)
    redis.call('EXPIRE', turn(key), KEPT_S)
    redis.call('ZREM', P .. 'open', key)
    if thread then
        make_room(key, thread)
        tell('settled', thread)
    end
end
"""
)

_BEAT: Final = (
    _SINCE
    + """
local alive_us, state = ARGV[2], ARGV[3]
local before = redis.call('EXISTS', P .. 'since')
if state == 'new' then redis.call('SET', P .. 'since', NOW, 'NX') end
local born = since(alive_us)
redis.call('EXPIRE', P .. 'since', 3600)
if state ~= 'leaving' then redis.call('ZADD', P .. 'peers', NOW, ME) end
redis.call('ZREMRANGEBYSCORE', P .. 'peers', '-inf', NOW - alive_us)
redis.call('EXPIRE', P .. 'peers', 60)
"""
)


def basics(steps: str) -> str:
    """A script that begins with what all need."""
    return _BASICS + steps


_ASKERS: Final = f"""
local function asks(thread, user, ts)
    local asked, first = P .. 'asked:' .. thread, P .. 'first:' .. thread
    redis.call('ZADD', asked, NOW, user)
    for _, other in ipairs(redis.call('ZRANGE', asked, 0, -{ASKERS + 1})) do
        redis.call('ZREM', asked, other)
        redis.call('HDEL', first, other)
    end
    local before = redis.call('HGET', first, user)
    if not before or ts < before then redis.call('HSET', first, user, ts) end
    redis.call('EXPIRE', asked, ASKED_S)
    redis.call('EXPIRE', first, ASKED_S)
end
"""


def _turns(steps: str) -> str:
    return basics(_TURNS + steps)


def _beat(steps: str) -> str:
    return basics(_BEAT + steps)


ACCEPT: Final = _turns(
    _ASKERS
    + """
local key, lease_us, thread, record, run_before, asker, ts = unpack(ARGV, 2)
if redis.call('EXISTS', turn(key)) == 1 then return false end
if run_before ~= '' and redis.call('HEXISTS', turn(run_before), 'owner') == 1 then
    close(run_before, 'superseded')
end
local born = since(lease_us)
begin(key, lease_us, NOW, thread, record)
if asker ~= '' then asks(thread, asker, ts) end
return {NOW, born, redis.call('EXISTS', P .. 'lost')}
"""
)
"""When it was accepted, since when the store remembers, and whether it has just lost its data; nil
if it was claimed before."""

RESTORE: Final = _turns("""
local key, lease_us, thread, record, at, has_place = unpack(ARGV, 2)
if redis.call('EXISTS', turn(key)) == 1 then return end
begin(key, lease_us, at, thread, record)
for i = 8, #ARGV, 2 do redis.call('HSET', turn(key), 'm' .. ARGV[i], ARGV[i + 1]) end
if has_place == '1' then put('places', at, key) end
""")

ABANDONED: Final = _turns("""
for _, zset in ipairs({P .. 'line', P .. 'places'}) do
    for _, key in ipairs(redis.call('ZRANGE', zset, 0, -1)) do
        if not redis.call('ZSCORE', P .. 'open', key) then redis.call('ZREM', zset, key) end
    end
end
local found = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', P .. 'open', '-inf', NOW - 1)) do
    if redis.call('HEXISTS', turn(key), 'owner') == 1 then
        found[#found + 1] = {key, redis.call('HGETALL', turn(key))}
    else
        redis.call('ZREM', P .. 'open', key)
    end
end
return found
""")
"""Of each its key and its fields. What has gone away by itself leaves the lists here."""

TAKE_UP: Final = _turns("""
local key, lease_us = unpack(ARGV, 2)
local owner, thread = unpack(redis.call('HMGET', turn(key), 'owner', 'thread'))
if not owner then return false end
local until_us = redis.call('ZSCORE', P .. 'open', key)
if owner ~= ME and until_us and tonumber(until_us) >= NOW then return false end
redis.call('HSET', turn(key), 'owner', ME)
redis.call('EXPIRE', turn(key), KEPT_S)
put('open', NOW + lease_us, key)
put('thread:' .. thread, 0, key)
return redis.call('HGETALL', turn(key))
""")
"""Its fields; nil if it is not to be had."""

COUNT_TRY: Final = _turns("""
local key = ARGV[2]
if redis.call('HEXISTS', turn(key), 'owner') == 1 then
    return redis.call('HINCRBY', turn(key), 'tries', 1)
end
return redis.call('EXISTS', turn(key)) == 1 and 0
""")
"""How many by now; 0 if it is settled, nil if it is unknown."""

ENTER: Final = _beat("return {before, born}")
"""Whether the prefix was in use before, and since when it is."""

IS_OPEN: Final = _turns("return redis.call('HEXISTS', turn(ARGV[2]), 'owner')")

RENEW: Final = _beat("""
local found = {born, redis.call('EXISTS', P .. 'lost')}
for i = 4, #ARGV do
    local turn = P .. 'turn:' .. ARGV[i]
    if redis.call('HGET', turn, 'owner') == ME then
        redis.call('ZADD', P .. 'open', NOW + alive_us, ARGV[i])
        found[#found + 1] = 'mine'
    else
        found[#found + 1] = redis.call('EXISTS', turn) == 1 and 'lost' or 'unknown'
    end
end
redis.call('EXPIRE', P .. 'open', KEPT_S)
return found
""")

LEAVE: Final = basics("redis.call('ZREM', P .. 'peers', ME)")

PEERS: Final = basics("""
local others = redis.call('ZCOUNT', P .. 'peers', NOW - ARGV[2], '+inf')
local mine = redis.call('ZSCORE', P .. 'peers', ME)
return mine and tonumber(mine) >= NOW - ARGV[2] and others - 1 or others
""")

RELEASE: Final = _turns("""
local key, tried = unpack(ARGV, 2)
local owner, thread, tries = unpack(redis.call('HMGET', turn(key), 'owner', 'thread', 'tries'))
if owner ~= ME then return end
redis.call('HSET', turn(key), 'owner', '')
if tried == '0' and tries and tonumber(tries) > 0 then
    redis.call('HINCRBY', turn(key), 'tries', -1)
end
put('open', 0, key)
make_room(key, thread)
tell('released', key)
""")

NOTE_MESSAGE: Final = _turns("""
local key, part, ts = unpack(ARGV, 2)
if redis.call('HGET', turn(key), 'owner') == ME then
    redis.call('HSET', turn(key), 'm' .. part, ts)
end
""")

SETTLE: Final = _turns("""
local key, outcome = unpack(ARGV, 2)
local owner, settled, thread, record =
    unpack(redis.call('HMGET', turn(key), 'owner', 'outcome', 'thread', 'record'))
-- Not the turn of a process that took it up meanwhile.
if settled or (owner and owner ~= ME and owner ~= '') then return end
close(key, outcome)
if (outcome == 'declined' or outcome == 'ignored') and record then
    local user = cjson.decode(record).user
    local asked_ts = string.match(key, '^[^:]*:[^:]*:([^:]*)')
    local is_first = redis.call('HGET', P .. 'first:' .. thread, user) == asked_ts
    if outcome == 'ignored' and not is_first then return end
    redis.call('ZREM', P .. 'asked:' .. thread, user)
    redis.call('HDEL', P .. 'first:' .. thread, user)
end
""")

ASKED_IN: Final = basics("""
local asked, first = P .. 'asked:' .. ARGV[2], P .. 'first:' .. ARGV[2]
local found = {redis.call('GET', P .. 'since') or NOW}
for _, user in ipairs(redis.call('ZRANGEBYSCORE', asked, NOW - ASKED_S * 1000000, '+inf')) do
    found[#found + 1] = user
    found[#found + 1] = redis.call('HGET', first, user) or ''
end
return found
""")
"""Since when the store remembers (now, if it has lost its data), and the users, behind each the ts
of the first question."""

NOTE_ASKERS: Final = basics(
    _ASKERS
    + """
for i = 3, #ARGV, 2 do asks(ARGV[2], ARGV[i], ARGV[i + 1]) end
"""
)

TAKE_PLACE: Final = _turns("""
local key, limit = ARGV[2], tonumber(ARGV[3])
local owner, thread, at = unpack(redis.call('HMGET', turn(key), 'owner', 'thread', 'at'))
if owner ~= ME then return redis.call('EXISTS', turn(key)) == 1 and -1 end
if redis.call('ZSCORE', P .. 'places', key) then return 0 end
-- Replies may be under way of which it is not told again yet.
if redis.call('EXISTS', P .. 'lost') == 1 then return -1 end

-- Once it stands in line, an earlier question that comes late does not overtake it.
local waits, is_earlier = redis.call('ZSCORE', P .. 'line', key), true
for _, other in ipairs(redis.call('ZRANGE', P .. 'thread:' .. thread, 0, -1)) do
    if other == key then
        is_earlier = false
    elseif not redis.call('ZSCORE', P .. 'open', other) then
        redis.call('ZREM', P .. 'thread:' .. thread, other)
    elseif (is_earlier and not waits) or redis.call('ZSCORE', P .. 'places', other) then
        redis.call('ZREM', P .. 'line', key)
        return -1
    end
end

put('line', at, key)
local free = limit - redis.call('ZCARD', P .. 'places')
local ahead = redis.call('ZRANK', P .. 'line', key)
-- Who is first in line and does not live any more would keep everybody behind it waiting.
while free > 0 and ahead >= free do
    local dead = {}
    for _, other in ipairs(redis.call('ZRANGE', P .. 'line', 0, free - 1)) do
        local until_us = redis.call('ZSCORE', P .. 'open', other)
        if not until_us or tonumber(until_us) < NOW then dead[#dead + 1] = other end
    end
    if #dead == 0 then break end
    redis.call('ZREM', P .. 'line', unpack(dead))
    ahead = ahead - #dead
end
if ahead >= free then return ahead - free + 1 end
redis.call('ZREM', P .. 'line', key)
put('places', NOW, key)
return 0
""")
"""As `Store.take_place`; nil if the turn is unknown."""
