-- One request to the store, executed atomically. Redis runs it on the primary only: it begins with a write,
-- which a replica refuses, and so does a primary that lacks the replicas of `min-replicas-to-write`.
--
-- KEYS, all of one hash tag:
--   1 entries   hash: key of the entry -> 'REVISION SESSION VALUE', with - for no session
--   2 index     sorted set of the keys of all entries, for listing; it may hold keys of no entry
--   3 sessions  hash: id -> 'TTL COUNT NONCE EXPIRY': milliseconds; the heartbeat; and when the entries of
--               the session end by this server's clock: - for no entries, x when they have ended
--   4 bound     sorted set of 'SESSION\0KEY', one for each entry of a session
--   5 revision  the last revision
--   6 guard     written, or deleted, by every request
-- ARGV: the request, the channel, whether replicas confirm it, and its own arguments.
local ENTRIES, INDEX, SESSIONS, BOUND, REVISION, GUARD = unpack(KEYS)
local request, channel, confirmed = ARGV[1], ARGV[2], ARGV[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- A revision is the clock in microseconds, so that it grows after all data were lost, and more than the last one in
-- any case, so that it grows when the clock is set back. A clock that is centuries ahead is left out: Lua counts to 2^53.
local revision
if request == 'put' then
  local microseconds, last = clock[1] * 1000000 + clock[2], tonumber(redis.call('GET', REVISION) or 0)
  if microseconds > 4503599627370496 then microseconds = 0 end
  revision = string.format('%.0f', math.max(microseconds, last + 1))
  redis.call('SET', REVISION, revision) -- first: it fails if memory is short, before anything else is written
else
  redis.call('DEL', GUARD) -- this write comes first, because it succeeds when memory is short, and then the others do
  if confirmed == '1' then redis.call('SET', GUARD, '') end -- so that WAIT covers what this request has read
end

local function announce(what) -- before the write: it fails if the channel is not permitted
  redis.call('PUBLISH', channel, what)
end

local function remove(key, session)
  announce(key)
  redis.call('HDEL', ENTRIES, key)
  redis.call('ZREM', INDEX, key)
  if session ~= '-' then redis.call('ZREM', BOUND, session .. '\0' .. key) end
end

local function session_of(entry) -- nothing if it is no entry: written by hand, or by another program
  if string.find(entry, '^0%d') then return nil end
  local _, _, session = string.find(entry, '^%d+ (%S+) ')
  return session
end

local function remove_bound(id)
  for _, name in ipairs(redis.call('ZRANGEBYLEX', BOUND, '[' .. id .. '\0', '(' .. id .. '\1')) do
    local key = string.sub(name, #id + 2)
    local entry = redis.call('HGET', ENTRIES, key)
    if entry and session_of(entry) == id then remove(key, id) else redis.call('ZREM', BOUND, name) end
  end
end

-- The record of a session, its heartbeat with the ttl, and when its entries end; nothing if it is over. One that was
-- overwritten by hand is over from now on: otherwise no renewal and no observer could ever go on.
local function session_record(id)
  local record = redis.call('HGET', SESSIONS, id)
  if not record then return nil end
  local _, _, beat, expiry = string.find(record, '^(%d+ %d+ %S+) (%S+)$')
  if expiry and (expiry == '-' or expiry == 'x' or string.find(expiry, '^%d+$')) then return record, beat, expiry end
  announce(id)
  redis.call('HDEL', SESSIONS, id)
  return nil
end

-- Whether the entries of a session have ended; if its time is over they end now, by a write, so that no
-- renewal brings them back. Also the record of the session, and when its entries will end.
local function lapsed(id)
  local record, beat, expiry = session_record(id)
  if not record then
    remove_bound(id)
    return true
  end
  if expiry ~= '-' and expiry ~= 'x' and tonumber(expiry) <= now then
    redis.call('HSET', SESSIONS, id, beat .. ' x')
    remove_bound(id)
    expiry = 'x'
  end
  return expiry == 'x', record, expiry
end

-- The entry at a key, and in how many milliseconds it may end; -1 if it does not.
local function read(key)
  local entry = redis.call('HGET', ENTRIES, key)
  if not entry then return false, -1 end
  local session = session_of(entry)
  if not session then -- it becomes an entry, so that it can be read, compared and replaced
    announce(key)
    entry = '0 - ' .. entry
    redis.call('HSET', ENTRIES, key, entry)
    redis.call('ZADD', INDEX, 0, key)
    return entry, -1
  end
  if session == '-' then return entry, -1 end
  local over, _, expiry = lapsed(session)
  if over then
    if redis.call('HEXISTS', ENTRIES, key) == 1 then remove(key, session) end
    return false, -1
  end
  return entry, math.max(0, (tonumber(expiry) or now) - now)
end

local function names_below(folder) -- 'a/' stands for all keys below 'a', '/' for all keys
  if folder == '/' then return redis.call('ZRANGEBYLEX', INDEX, '-', '+') end
  return redis.call('ZRANGEBYLEX', INDEX, '[' .. folder, '(' .. string.sub(folder, 1, -2) .. '0')
end

-- Whether the claim with that token leads: the record beside the election's key, whose session is not
-- over (`leadership_core.backend.ClaimRecord`); or an entry at the key itself that is bound to a session.
local function leads(key, token)
  local claim = redis.call('HGET', ENTRIES, key .. '/.claim')
  if claim then
    local _, _, found, session = string.find(claim, '^(%d+) %- leadership/1 %d+ %x+ (%S+)\n')
    if found == token and redis.call('HEXISTS', SESSIONS, session) == 1 then return true end
  end
  return string.match(read(key) or '', '^(%d+) %w') == token
end

if request == 'read' then
  local answer = {}
  for i = 4, #ARGV do
    local found, name = {}, ARGV[i]
    local names = string.sub(name, -1) == '/' and names_below(name) or {name}
    for _, key in ipairs(names) do
      local entry, left = read(key)
      if entry then table.insert(found, {key, entry, left}) end
    end
    table.insert(answer, found)
  end
  return answer
end

if request == 'put' then
  local key, expected, value, session, fence, token = unpack(ARGV, 4)
  local old = read(key)
  if fence and not leads(fence, token) then return {'fenced'} end
  if expected ~= 'any' and expected ~= (old or 'absent') then return {'conflict', old or ''} end
  -- A claim is made by a session that is not over: an operator may have ended it.
  local claimant = string.sub(key, -7) == '/.claim' and string.match(value, '^leadership/1 %d+ %x+ (%S+)\n')
  if claimant and redis.call('HEXISTS', SESSIONS, claimant) == 0 then return {'session'} end
  if session ~= '-' then
    local over, record, expiry = lapsed(session)
    if over then return {'session'} end
    if expiry == '-' then -- the first entry of this session
      local _, _, beat, ttl = string.find(record, '^((%S+) %S+ %S+) ')
      redis.call('HSET', SESSIONS, session, beat .. ' ' .. string.format('%.0f', now + ttl))
    end
  end
  announce(key)
  local before = old and session_of(old) or '-'
  if before ~= '-' and before ~= session then redis.call('ZREM', BOUND, before .. '\0' .. key) end
  if session ~= '-' then redis.call('ZADD', BOUND, 0, session .. '\0' .. key) end
  redis.call('ZADD', INDEX, 0, key)
  redis.call('HSET', ENTRIES, key, revision .. ' ' .. session .. ' ' .. value)
  return {'ok', revision}
end

if request == 'delete' then
  local key, expected = ARGV[4], ARGV[5]
  local old = read(key)
  if not old then return {'absent'} end
  if expected ~= 'any' and expected ~= old then return {'conflict', old} end
  remove(key, session_of(old))
  return {'ok'}
end

if request == 'delete_tree' then
  local count = 0
  for _, key in ipairs(names_below(ARGV[4])) do
    local entry = read(key)
    if entry then
      remove(key, session_of(entry))
      count = count + 1
    else
      redis.call('ZREM', INDEX, key)
    end
  end
  return {'ok', count}
end

if request == 'open' then
  local id, ttl, nonce = ARGV[4], ARGV[5], ARGV[6]
  redis.call('HSET', SESSIONS, id, ttl .. ' 1 ' .. nonce .. ' -')
  return {'ok'}
end

if request == 'renew' then
  local id, nonce = ARGV[4], ARGV[5]
  local over, record = lapsed(id)
  if over then return {'session'} end
  local _, _, ttl, count, expiry = string.find(record, '^(%S+) (%S+) %S+ (%S+)$')
  if expiry ~= '-' then expiry = string.format('%.0f', now + ttl) end
  redis.call('HSET', SESSIONS, id, ttl .. ' ' .. string.format('%.0f', count + 1) .. ' ' .. nonce .. ' ' .. expiry)
  return {'ok'}
end

if request == 'heartbeats' then -- of these sessions
  local answer = {}
  for i = 4, #ARGV do
    table.insert(answer, (session_record(ARGV[i])) or '')
  end
  return answer
end

if request == 'sessions' then -- some of all sessions, for a sweep
  return redis.call('HSCAN', SESSIONS, ARGV[4], 'COUNT', 500)
end

if request == 'end' then -- the session, if its heartbeat is still that one; without one, in any case
  local id, beat = ARGV[4], ARGV[5]
  local record = redis.call('HGET', SESSIONS, id)
  if record and beat and string.match(record, '^%S+ (%S+ %S+) ') ~= beat then return {'renewed'} end
  announce(id)
  remove_bound(id)
  redis.call('HDEL', SESSIONS, id)
  return {'ok'}
end

if request == 'probe' then -- whether the user may do all of this, before any of it is done in part
  announce('')
  redis.call('GET', GUARD)
  redis.call('SET', GUARD, '')
  redis.call('DEL', GUARD)
  redis.call('HSET', GUARD, 'a', '')
  redis.call('HGET', GUARD, 'a')
  redis.call('HEXISTS', GUARD, 'a')
  redis.call('HSCAN', GUARD, '0')
  redis.call('HDEL', GUARD, 'a')
  redis.call('ZADD', GUARD, 0, 'a')
  redis.call('ZRANGEBYLEX', GUARD, '-', '+')
  redis.call('ZREM', GUARD, 'a')
  return {'ok'}
end

return redis.error_reply('ERR unknown request')
