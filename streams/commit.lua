-- One chunk of one partition: states, timers, buckets, pages, the partition's own state and the offset,
-- together or not at all. Types are checked first, the arguments before the first write (a script that
-- fails midway keeps its writes), and the offset is written last.
-- KEYS header states timers buckets pages
-- ARGV incarnation owner from to commit_id crc partition_state; then for each of the last four keys:
--      n, (field value | armed member) * n/2 to put, n, (name) * n to remove
for i, want in ipairs({'hash', 'hash', 'zset', 'hash', 'hash'}) do
  local t = redis.call('TYPE', KEYS[i]).ok
  if t ~= want and t ~= 'none' then return {'lost', KEYS[i] .. ' is a ' .. t} end
end
local h = redis.call('HMGET', KEYS[1], 'incarnation', 'owner', 'offset', 'commit_id')
if h[1] ~= ARGV[1] then return {'lost', h[1] or ''} end           -- no header, or another life
if h[2] ~= ARGV[2] then return {'fenced', h[2] or ''} end         -- another owner
if h[4] == ARGV[5] then return {'ok-duplicate', ''} end           -- our own commit, the reply was lost
if h[3] ~= ARGV[3] then return {'stale', h[3] or ''} end          -- the store went back

assert(ARGV[1] ~= '' and ARGV[2] ~= '' and ARGV[5] ~= '' and ARGV[6]:match('^%d+$') and ARGV[7], 'malformed header')
assert(ARGV[4]:match('^%d+$') and tonumber(ARGV[4]) > tonumber(ARGV[3]), 'malformed offset')
local runs, at = {}, 8
for i, command in ipairs({'HSET', 'HDEL', 'ZADD', 'ZREM', 'HSET', 'HDEL', 'HSET', 'HDEL'}) do
  local n = ARGV[at] and ARGV[at]:match('^%d+$') and tonumber(ARGV[at])
  assert(n and (i % 2 == 0 or n % 2 == 0), 'malformed count')
  runs[i], at = {command, KEYS[1 + math.ceil(i / 2)], at + 1, at + n}, at + n + 1
end
assert(at == #ARGV + 1, 'malformed length')
for a = runs[3][3], runs[3][4], 2 do assert(ARGV[a]:match('^%d+$'), 'malformed timer') end

for _, run in ipairs(runs) do                                     -- unpack holds fewer than 8,000 arguments
  for a = run[3], run[4], 2000 do
    redis.call(run[1], run[2], unpack(ARGV, a, math.min(a + 1999, run[4])))
  end
end
redis.call('HSET', KEYS[1], 'state', ARGV[7], 'crc', ARGV[6], 'commit_id', ARGV[5], 'offset', ARGV[4])
return {'ok', ''}
