-- One request to the store, executed atomically. An entry is kept as 'REVISION SESSION VALUE', with
-- - for no session. It exists as long as the key of its session does, which expires by its PX.
local ENTRIES, SESSION = 'leadership:entries', 'leadership:session:'
local REVISION, CHANGES = 'leadership:revision', 'leadership:bell'
local request, key, expected, value, session, claim, token = unpack(ARGV)

local function is_alive(id)
  return id == '-' or redis.call('EXISTS', SESSION .. id) == 1
end

local function read(name)
  local entry = redis.call('HGET', ENTRIES, name)
  if entry and not is_alive(string.match(entry, '^%d+ (%S+)')) then
    redis.call('HDEL', ENTRIES, name)
    return false
  end
  return entry
end

if request == 'read' then -- 'a/b' is that key, 'a/' all keys below 'a', '/' all keys
  local answer = {}
  for i = 2, #ARGV do
    local found, name_or_tree = {}, ARGV[i]
    local is_tree = string.sub(name_or_tree, -1) == '/'
    local names = is_tree and redis.call('HKEYS', ENTRIES) or {name_or_tree}
    table.sort(names)
    for _, name in ipairs(names) do
      local is_wanted = name_or_tree == '/' or string.sub(name, 1, #name_or_tree) == name_or_tree
      local entry = is_wanted and read(name)
      if entry then table.insert(found, {name, entry}) end
    end
    table.insert(answer, found)
  end
  return answer
end

if request == 'last_change' then
  local last = redis.call('XREVRANGE', CHANGES, '+', '-', 'COUNT', 1)[1]
  return last and last[1] or '0'
end

local answer = 0
if request == 'close' then
  redis.call('DEL', SESSION .. key)
else
  local old = read(key)
  if request == 'delete' and not old then return 0 end
  if claim and string.match(read(claim) or '', '^(%d+) %w') ~= token then
    return redis.error_reply('FENCED')
  elseif expected ~= 'any' and expected ~= (old or 'absent') then
    return redis.error_reply('CONFLICT')
  elseif request == 'delete' then
    answer = redis.call('HDEL', ENTRIES, key)
  elseif not is_alive(session) then
    return redis.error_reply('SESSION')
  else -- The clock is part of it, so that revisions grow even after all data were lost.
    local clock, last = redis.call('TIME'), redis.call('GET', REVISION) or 0
    answer = string.format('%.0f', math.max(clock[1] * 1000000 + clock[2], last + 1))
    redis.call('SET', REVISION, answer) -- first: it fails if memory is short, before anything is written
    redis.call('HSET', ENTRIES, key, answer .. ' ' .. session .. ' ' .. value)
  end
end
redis.call('XADD', CHANGES, 'MAXLEN', 1, '*', 'by', request)
return answer
