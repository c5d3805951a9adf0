"""The ledger's steps: Lua, by Redis's own clock, in µs.

calls:BUDGET    calls by time; each is named after the process that made it
pause:BUDGET    hash: until, share
teams           workspaces that use budgets, by the last use
budgets:TEAM    the budgets of a whole workspace ("T1:edits", not "T1:posts:C1") that are used
live:TEAM       hash: by process the time and JSON of what it tells of its live replies
"""

from __future__ import annotations

from typing import Final

from bot.store.redis.scripts import basics

_BUDGETS: Final = """
local HOUR_S, PAUSE_S, MARGIN_US = 3600, 900, 10000000

local function calls(budget) return P .. 'calls:' .. budget end
local function pause(budget) return P .. 'pause:' .. budget end

local function in_use(budget)
    local team = string.match(budget, '^([^:]+):[^:]+$')
    if team then
        redis.call('SADD', P .. 'budgets:' .. team, budget)
        redis.call('EXPIRE', P .. 'budgets:' .. team, HOUR_S)
        redis.call('ZADD', P .. 'teams', NOW, team)
        redis.call('ZREMRANGEBYSCORE', P .. 'teams', '-inf', NOW - HOUR_S * 1000000)
        redis.call('EXPIRE', P .. 'teams', HOUR_S)
    end
end

local function count(budget, at, name, kept_us)
    redis.call('ZADD', calls(budget), at, ME .. ':' .. name)
    redis.call('PEXPIRE', calls(budget), math.ceil(kept_us / 1000))
end

local function spent(budget)
    local until_us, share = unpack(redis.call('HMGET', pause(budget), 'until', 'share'))
    local found = {budget, until_us and until_us - NOW, share}
    local scores = redis.call('ZRANGE', calls(budget), 0, -1, 'WITHSCORES')
    for i = 2, #scores, 2 do found[#found + 1] = NOW - scores[i] end
    return found
end

local function spent_by(team, found)
    for _, budget in ipairs(redis.call('SMEMBERS', P .. 'budgets:' .. team)) do
        found[#found + 1] = spent(budget)
    end
end

local function newest_of_mine(budget)
    for _, name in ipairs(redis.call('ZREVRANGE', calls(budget), 0, -1)) do
        if string.sub(name, 1, #ME + 1) == ME .. ':' then return name end
    end
end
"""


def _budgets(steps: str) -> str:
    return basics(_BUDGETS + steps)


TAKE: Final = _budgets("""
local asked, names = cjson.decode(ARGV[2]), {}
for _, late in ipairs(asked.late) do
    local budget, name, age_us = unpack(late)
    in_use(budget)
    count(budget, NOW - age_us, name, HOUR_S * 1000000)
    names[budget] = true
end

local ok = 1
for _, claim in ipairs(asked.claims) do
    local budget, limit, window_us = unpack(claim)
    in_use(budget)
    -- The others may see a longer window than this process does.
    redis.call('ZREMRANGEBYSCORE', calls(budget), '-inf', NOW - 2 * window_us - MARGIN_US)
    local until_us = redis.call('HGET', pause(budget), 'until')
    local used = redis.call('ZCOUNT', calls(budget), NOW - window_us + 1, '+inf')
    if used >= limit or (until_us and tonumber(until_us) > NOW) then ok = 0 end
    names[budget] = true
end

if ok == 1 then
    for _, claim in ipairs(asked.claims) do
        local budget, _, window_us = unpack(claim)
        count(budget, NOW, asked.name, 2 * window_us + MARGIN_US)
    end
end
local found = {ok}
for budget in pairs(names) do found[#found + 1] = spent(budget) end
return found
""")
"""Whether it was counted; then of each budget that was named: its name, µs until its pause ends,
its share, and its calls' ages in µs, oldest first."""

PUT_OFF: Final = _budgets("""
for i = 2, #ARGV do
    local name = newest_of_mine(ARGV[i])
    if name then redis.call('ZADD', calls(ARGV[i]), NOW, name) end
end
""")

GIVE_BACK: Final = _budgets("""
for i = 2, #ARGV do
    local name = newest_of_mine(ARGV[i])
    if name then redis.call('ZREM', calls(ARGV[i]), name) end
end
""")

PAUSE: Final = _budgets("""
local budget, left_us, share = unpack(ARGV, 2)
local until_us, known = NOW + left_us, redis.call('HGET', pause(budget), 'until')
if known and tonumber(known) >= until_us then return end
in_use(budget)
redis.call('HSET', pause(budget), 'until', until_us, 'share', share)
redis.call('EXPIRE', pause(budget), PAUSE_S + math.max(0, math.ceil(left_us / 1000000)))
""")

RECALL: Final = _budgets("""
local found = {}
for _, team in ipairs(redis.call('ZRANGE', P .. 'teams', 0, -1)) do spent_by(team, found) end
return found
""")

EXCHANGE: Final = _budgets("""
local team, mine, stale_us = unpack(ARGV, 2)
local live, told, found = P .. 'live:' .. team, {}, {}
local all = redis.call('HGETALL', live)
for i = 1, #all, 2 do
    local at, said = string.match(all[i + 1], '^(%d+) (.*)$')
    if NOW - at > tonumber(stale_us) then
        redis.call('HDEL', live, all[i])
    elseif all[i] ~= ME then
        told[#told + 1] = said
    end
end
redis.call('HSET', live, ME, string.format('%.0f %s', NOW, mine))
redis.call('EXPIRE', live, 60)
spent_by(team, found)
return {told, found}
""")
"""What the others told, as JSON, and what each budget of the workspace has spent."""
