-- Take in notes about clients of many users; as `merged` and `surplus` in base.py. All keys are on
-- one server. What it does may be done again, so that it may be cut off anywhere.
--
-- KEYS  of each user: ledger (HASH: client id -> entry; "erased" -> notes of sessions that were
--       opened before then do not count)
-- ARGV  1 clients of a user   2 seconds that entries are kept
--       and of each user: how many notes; client id, note; client id, note; …
-- An entry, and a note: epoch, start, sent, acked, when that was, when all this was so, session,
-- when it was opened, and more that only Python reads; with spaces between, and "-" for None.
local MOST, TTL = tonumber(ARGV[1]), math.ceil(tonumber(ARGV[2]))

local function read(text)
  local epoch, start, sent, acked, acked_at, at, session, opened, rest =
    string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  if not epoch then return end -- of a later version
  return {
    epoch = epoch, start = tonumber(start), sent = tonumber(sent), acked = tonumber(acked),
    acked_at = acked_at, at = at, session = session, opened = opened, rest = rest,
  }
end

local function is_before(one, other)
  local mine, theirs = tonumber(one.opened), tonumber(other.opened)
  if mine ~= theirs then return mine < theirs end
  if one.session ~= other.session then return one.session < other.session end
  return tonumber(one.at) < tonumber(other.at)
end

local function merged(known, note)
  local last, earlier = note, known
  if is_before(note, known) then last, earlier = known, note end
  if last.epoch ~= earlier.epoch then return last end
  if earlier.start <= last.sent and last.start <= earlier.sent then
    last.start, last.sent = math.min(last.start, earlier.start), math.max(last.sent, earlier.sent)
  elseif earlier.sent > last.sent then
    last.start, last.sent = earlier.start, earlier.sent
  end
  if earlier.acked and (not last.acked or earlier.acked > last.acked) then
    last.acked, last.acked_at = earlier.acked, earlier.acked_at
  end
  return last
end

local function text(one)
  return string.format('%s %.0f %.0f %s %s %s %s %s %s', one.epoch, one.start, one.sent,
    one.acked and string.format('%.0f', one.acked) or '-', one.acked_at, one.at, one.session,
    one.opened, one.rest)
end

-- Remove those that are more than a user may have.
local function thin(key, entries, count, spared)
  local clients = {}
  for client in pairs(entries) do clients[#clients + 1] = client end
  local function place(client)
    local one = entries[client]
    return spared[client] and 1 or 0, tonumber(one.acked_at) or 0, tonumber(one.at)
  end
  table.sort(clients, function(a, b)
    local mine, theirs = { place(a) }, { place(b) }
    for i = 1, 3 do
      if mine[i] ~= theirs[i] then return mine[i] < theirs[i] end
    end
    return a < b
  end)
  for i = 1, count - MOST do redis.call('HDEL', key, clients[i]) end
end

local at = 3
for _, key in ipairs(KEYS) do
  local erased, entries, count = nil, {}, 0
  local found = redis.call('HGETALL', key)
  for i = 1, #found, 2 do
    if found[i] == 'erased' then
      erased = tonumber(found[i + 1])
    else
      local one = read(found[i + 1])
      if one then entries[found[i]], count = one, count + 1 end
    end
  end
  local spared = {}
  for i = at + 1, at + 2 * tonumber(ARGV[at]), 2 do
    local client, note = ARGV[i], read(ARGV[i + 1])
    if not erased or tonumber(note.opened) > erased then
      if entries[client] then note = merged(entries[client], note) else count = count + 1 end
      entries[client], spared[client] = note, true
      redis.call('HSET', key, client, text(note))
    end
  end
  if next(spared) then
    if count > MOST then thin(key, entries, count, spared) end
    redis.call('EXPIRE', key, TTL)
  end
  at = at + 1 + 2 * tonumber(ARGV[at])
end
return 1
