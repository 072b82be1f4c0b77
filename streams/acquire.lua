-- A new owner of one partition: from here on every other owner's commit is fenced.
-- KEYS header states timers buckets pages halted
-- ARGV owner state_version log topic_id partitions
local reason = redis.call('HGET', KEYS[6], 'reason')
if reason then return {'HALTED', reason} end
for i, want in ipairs({'hash', 'hash', 'zset', 'hash', 'hash'}) do
  local t = redis.call('TYPE', KEYS[i]).ok
  if t ~= want and t ~= 'none' then return {'OTHER', KEYS[i] .. ' is a ' .. t} end
end
local h = redis.call('HMGET', KEYS[1], 'incarnation', 'offset', 'crc', 'state', 'version', 'log', 'topic_id', 'partitions')
if not h[1] then return {'EMPTY', ''} end
for i, name in ipairs({'log', 'topic_id', 'partitions'}) do
  if h[5 + i] ~= ARGV[2 + i] then
    return {'OTHER', name .. ' is ' .. (h[5 + i] or 'missing') .. ', not ' .. ARGV[2 + i]}
  end
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
