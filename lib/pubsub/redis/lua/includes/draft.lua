-- The content of a draft: a stream of its pieces. The id of a piece is <end>-0, where <end> is the length of the
-- content with this piece. Its fields: a the length before it, c the piece.
--
-- Constants: see scripts.ts.

local draft = {}

-- After the first write command of a script, even a DEL of a missing key, Redis no longer refuses its writes for lack
-- of memory. So delete only what exists: a full Redis must still refuse new data.
function draft.delete (key)
  if redis.call('EXISTS', key) == 1 then redis.call('DEL', key) end
end

-- Appends a piece. The first one replaces what is left of an earlier draft, or of one whose record was lost.
function draft.append (key, at, last, piece)
  if at == '0' then draft.delete(key) end
  redis.call('XADD', key, last .. '-0', 'a', at, 'c', piece)
  redis.call('PEXPIRE', key, STATE_TTL)
end

-- Keeps the content of a finalized draft for LOG_EXPIRY, like the event that has replaced it, or deletes it.
function draft.finalize (key, keep)
  if keep then redis.call('PEXPIRE', key, LOG_EXPIRY) else draft.delete(key) end
end
