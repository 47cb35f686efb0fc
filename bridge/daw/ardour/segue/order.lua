-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- An action: what is selected becomes an order in the spool and an entry in the journal.

local need = ...
local selected, curves, spool = need ("selection"), need ("curves"), need ("spool")
local journal, notices, settings = need ("journal"), need ("notices"), need ("settings")

local MOST_SECONDS = { continue = 60, inpaint = 30 } -- of the region, beside the new music
local ROWS_A_LINE = 64

local function add_rows (lines, id, what, rows, ...)
	local columns = #rows[1]
	lines[#lines + 1] = spool.line ("/segue/rows/begin", "ssi" .. ("s"):rep (select ("#", ...)),
		id, what, #rows, ...)
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

-- Ardour keeps a file a channel; the same file twice holds all channels itself.
local function files_of (region)
	local paths = {}
	for i = 0, region:to_audioregion ():n_channels () - 1 do
		local source = region:source (i):to_filesource ()
		if source:isnil () then
			error ("this region is no audio file: bounce or consolidate it first", 0)
		end
		if source:path () ~= paths[#paths] then
			paths[#paths + 1] = source:path ()
		end
	end
	return paths
end

-- Samples of the timeline: where the piece that is sent begins and ends, and the new music.
local function stretches (kind, region, range, rate)
	local first = region:position ():samples ()
	local last = first + region:length ():samples ()
	if kind == "vary" then
		return first, last, first, last
	elseif kind == "continue" then
		local to = range and range.to > last and range.to or curves.bars_after (last, settings.bars)
		return math.max (first, last - MOST_SECONDS.continue * rate), last, last, to
	end
	local around = MOST_SECONDS.inpaint * rate
	if not range or range.from <= first or range.to >= last then
		error ("select a range inside the region, with some of it left on both sides", 0)
	end
	return math.max (first, range.from - around), math.min (last, range.to + around),
		range.from, range.to
end

local function ask (lines, order, path, start, rate)
	local id, preset = order.id, settings[order.kind]
	if order.kind == "continue" then
		lines[#lines + 1] = spool.line ("/segue/outpaint", "ssdddis", id, path, start, order.length,
			(order.to - order.from) / rate, -1, preset)
	else
		lines[#lines + 1] = spool.line ("/segue/make", "ssdds", id, path, start, order.length, preset)
	end
end

local function lines_of (order, region, track, rate)
	local lines, paths = {}, files_of (region)
	local path, start = paths[1], order.start
	if #paths > 1 then
		path, order.start = spool.path (order.id .. ".wav"), 0
		lines[1] = spool.line ("/spool/join", "sdd" .. ("s"):rep (#paths), path, start, order.length,
			table.unpack (paths))
		start = 0
	end
	add_rows (lines, order.id, "tempo", curves.tempo (order.position, order.to))
	if order.kind == "inpaint" then
		local gap = { (order.from - order.position) / rate, (order.to - order.from) / rate }
		add_rows (lines, order.id, "gaps", { gap })
	end
	local gains = order.kind == "continue" and curves.gain (track, order.from, order.to)
	if gains then
		add_rows (lines, order.id, "intensity", gains, "seconds", "db")
		order.fader = 1 -- the music itself follows the automation
	end
	ask (lines, order, path, start, rate)
	return lines
end

local function order (kind)
	local region, track, range = selected ()
	if not region then
		error (range, 0)
	end
	local rate = Session:nominal_sample_rate ()
	local first, last, from, to = stretches (kind, region, range, rate)
	local skipped = first - region:position ():samples ()
	local new = {
		id = string.format ("ardour-%x-%x", os.time (), math.random (0, 0xffffff)),
		kind = kind, region = region:name (), position = first, from = from, to = to,
		start = (region:start ():samples () + skipped) / rate, length = (last - first) / rate,
		gain = region:to_audioregion ():scale_amplitude (),
		inputs = track:n_inputs ():n_audio (), outputs = track:n_outputs ():n_audio (),
		time = os.time (), fader = track:gain_control ():get_value (),
	}
	spool.write (new.id .. ".order", lines_of (new, region, track, rate))
	journal.add (new)
	print ("Segue: " .. kind .. " " .. new.region .. " (" .. new.id .. ")")
end

return function (kind)
	notices.clear_warnings ()
	order (kind)
end
