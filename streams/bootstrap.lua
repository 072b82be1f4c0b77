-- The first moment of a partition's life: what was staged beside it takes its place, whole.
-- KEYS header states timers buckets pages, then the four staged ones
-- ARGV replace ('1' or '0'), four sizes of what was staged, then field value pairs of the header
for i = 1, 5 do
  if ARGV[1] ~= '1' and redis.call('EXISTS', KEYS[i]) == 1 then return {'exists', KEYS[i]} end
end
for i, size in ipairs({'HLEN', 'ZCARD', 'HLEN', 'HLEN'}) do       -- staged keys expire: part of them may be gone
  if redis.call(size, KEYS[5 + i]) ~= tonumber(ARGV[1 + i]) then return {'torn', KEYS[5 + i]} end
end
redis.call('UNLINK', unpack(KEYS, 1, 5))
for i = 1, 4 do
  if tonumber(ARGV[1 + i]) > 0 then
    redis.call('RENAME', KEYS[5 + i], KEYS[1 + i])
    redis.call('PERSIST', KEYS[1 + i])                            -- no state may ever expire
  end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 6))
return {'ok', ''}
