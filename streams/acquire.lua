-- A new owner of one partition: from here on every other owner's commit is fenced.
-- KEYS header states timers buckets pages halted
-- ARGV owner state_version log topic_id partitions
local function kind(name) return redis.call('TYPE', name).ok end
if kind(KEYS[6]) ~= 'hash' and kind(KEYS[6]) ~= 'none' then return {'HALTED', KEYS[6] .. ' is a ' .. kind(KEYS[6])} end
local reason = redis.call('HGET', KEYS[6], 'reason')
if reason then return {'HALTED', reason} end
for i, want in ipairs({'hash', 'hash', 'zset', 'hash', 'hash'}) do
  local t = kind(KEYS[i])
  if t ~= want and t ~= 'none' then return {'LOST', KEYS[i] .. ' is a ' .. t} end
end
local names = {'incarnation', 'offset', 'crc', 'state', 'version', 'log', 'topic_id', 'partitions'}
local h = redis.call('HMGET', KEYS[1], unpack(names))
if not h[1] then return {'EMPTY', ''} end
for i, name in ipairs(names) do
  if not h[i] then return {'LOST', KEYS[1] .. ' has no ' .. name} end
end
for _, i in ipairs({2, 3, 5}) do
  if not tonumber(h[i]) then return {'LOST', KEYS[1] .. ' has ' .. names[i] .. ' ' .. h[i]} end
end
for i = 6, 8 do
  if h[i] ~= ARGV[i - 3] then return {'OTHER', names[i] .. ' is ' .. h[i] .. ', not ' .. ARGV[i - 3]} end
end
if tonumber(h[5]) > tonumber(ARGV[2]) then
  return {'NEWER', 'state version ' .. h[5] .. ' is above ' .. ARGV[2]}
end
-- Nothing is changed by these; they fail here, and not halfway through a commit, where a right is missing.
redis.call('HDEL', KEYS[2], '')
redis.call('ZREM', KEYS[3], '')
redis.call('ZADD', KEYS[3], 'XX', 0, '')
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'version', ARGV[2])
return {'OK', h[1], h[2], h[3], h[4]}
