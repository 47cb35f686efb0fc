-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What has been answered to an order so far, as one table.

local need = ...
local spool = need ("spool")

local MOST_CLIPS = 64
local FORGOTTEN = "Segue has forgotten this order; if there is a clip, it is results/%s.wav in the data"
	.. " folder that `segue doctor` names"

local function clip (path, overlay, overlay_start, start)
	if overlay and overlay ~= "" then
		return { path = overlay, at = overlay_start, overlay = true }
	end
	return { path = path, at = start }
end

local READERS = {
	["/spool/waiting"] = function (known, _, text) known.waiting = text end,
	["/segue/job/accepted"] = function (known) known.waiting = nil end,
	["/segue/job/progress"] = function (known, _, fraction, stage)
		known.fraction, known.stage, known.waiting = fraction, stage, nil
	end,
	["/segue/job/variation"] = function (known, _, number, path, overlay, overlay_start)
		known.others[number] = { path, overlay, overlay_start }
	end,
	["/segue/job/done"] = function (known, _, path, start, _, _, seed, overlay, overlay_start)
		known.clips = { clip (path, overlay, overlay_start, start) }
		known.path, known.seed = path, seed
		for number = 2, MOST_CLIPS do
			local other = known.others[number]
			if other then
				known.clips[#known.clips + 1] = clip (other[1], other[2], other[3], start)
			end
		end
	end,
	["/segue/job/cancelled"] = function (known) known.cancelled = true end,
	["/segue/error"] = function (known, _, code, text) known.problem = text end,
}

-- waiting (text), fraction and stage; at the end clips (each with path, `at` seconds of the
-- order's file, overlay), cancelled, or problem (text).
return function (id)
	local known = { others = {} }
	for _, line in ipairs (spool.read (id .. ".answers")) do
		local address, arguments = spool.parse (line)
		local reader = READERS[address]
		if reader then
			reader (known, table.unpack (arguments))
		end
	end
	local ended = known.clips or known.cancelled or known.problem
	if not ended and not spool.holds (id) then
		known.problem = FORGOTTEN:format (id)
	end
	return known
end
