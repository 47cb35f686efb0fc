-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- An action: what is selected becomes an order in the spool and an entry in the journal.

local need = ...
local selected, curves, spool = need ("selection"), need ("curves"), need ("spool")
local journal, notices, settings = need ("journal"), need ("notices"), need ("settings")
local heard, anchor = need ("heard"), need ("anchor")

local AROUND_SECONDS = 30 -- of the region, on each side of the new music
local MOST_SECONDS = 600 -- that Segue takes
local ROWS_A_LINE = 64

local function add_rows (lines, id, what, rows, scale, first_beat)
	local columns = #rows[1]
	lines[#lines + 1] = spool.line ("/segue/rows/begin", "ssissd",
		id, what, #rows, "", scale, first_beat or 0) -- in seconds, as usual
	for first = 1, #rows, ROWS_A_LINE do
		local numbers = {}
		for i = first, math.min (first + ROWS_A_LINE - 1, #rows) do
			table.move (rows[i], 1, columns, #numbers + 1, numbers)
		end
		lines[#lines + 1] = spool.line ("/segue/rows/add", "ssi" .. ("d"):rep (#numbers),
			id, what, first - 1, table.unpack (numbers))
	end
	lines[#lines + 1] = spool.line ("/segue/rows/end", "ssi", id, what, #rows)
end

-- Samples of the timeline: where the piece that is sent begins and ends, and the new music.
local function stretches (kind, region, range, rate)
	local first = region:position ():samples ()
	local last = first + region:length ():samples ()
	local around = AROUND_SECONDS * rate
	if kind == "vary" then
		return first, last, first, last
	elseif kind == "continue" then
		local to = range and range.to > last and range.to or curves.bars_after (last, settings.bars)
		return math.max (first, last - around), last, last, to
	end
	if not range or range.from <= first or range.to >= last then
		error ("select a range inside the region, with some of it left on both sides", 0)
	end
	return math.max (first, range.from - around), math.min (last, range.to + around),
		range.from, range.to
end

local function ask (lines, order, path, rate)
	local id, preset = order.id, settings[order.kind]
	if order.kind == "continue" then
		lines[#lines + 1] = spool.line ("/segue/outpaint", "ssdddis", id, path, 0, order.length,
			(order.to - order.from) / rate, -1, preset)
	else
		lines[#lines + 1] = spool.line ("/segue/make", "ssdds", id, path, 0, order.length, preset)
	end
end

local function add_intensity (lines, order, track, lane)
	if lane and order.kind ~= "vary" then
		local shares = curves.share (lane, order.from, order.to)
		add_rows (lines, order.id, "intensity", shares, "share")
		print ("Segue: along the curve of " .. lane.control:name ())
		return
	end
	if order.kind ~= "continue" then
		return -- the clip has more of the region in it, which follows no curve
	end
	local gains, level = curves.gain (track, order.from, order.to, order.fader)
	if gains then
		add_rows (lines, order.id, "intensity", gains, "db")
		order.fader = level
	end
end

local function lines_of (order, path, track, lane, rate)
	local lines, first = {}, order.position
	local beat = curves.first_beat (first)
	add_rows (lines, order.id, "tempo", curves.tempo (first, order.to), "", beat)
	if order.kind == "inpaint" then
		local gap = { (order.from - first) / rate, (order.to - order.from) / rate }
		add_rows (lines, order.id, "gaps", { gap }, "")
	end
	add_intensity (lines, order, track, lane)
	ask (lines, order, path, rate)
	return lines
end

-- Two Ardours count alike, but do not keep their tables at the same place.
local function new_id ()
	local place = tostring ({}):match ("%x+$")
	return string.format ("ardour-%x-%s-%x", os.time (), place, math.random (0, 0xffff))
end

local function order (kind)
	local region, track, range, lane = selected ()
	local rate = Session:nominal_sample_rate ()
	local first, last, from, to = stretches (kind, region, range, rate)
	if last - first > MOST_SECONDS * rate then
		error ("too long: split the region, or select less; ten minutes are the most", 0)
	end
	local beside = kind == "continue" and last - 1 or from -- of the region, what is to go on
	local new = {
		id = new_id (), kind = kind, region = region:name (),
		position = first, length = (last - first) / rate, from = from, to = to,
		inputs = track:n_inputs ():n_audio (), outputs = track:n_outputs ():n_audio (),
		fader = curves.level (track, beside),
	}
	new.track_id, new.region_id, new.origin, new.last = anchor.of (region, track)
	local channels = region:to_audioregion ():n_channels ()
	local path = heard (new.id .. ".wav", track, channels, first, last)
	spool.write (new.id .. ".order", lines_of (new, path, track, lane, rate))
	journal.add ("order", new)
	print ("Segue: " .. kind .. " " .. new.region .. " (" .. new.id .. ")")
end

return function (kind)
	notices.clear_warnings ()
	order (kind)
end
