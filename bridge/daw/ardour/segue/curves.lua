-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Tempo map and automation as rows of numbers. Positions are samples of the timeline.

local curves = {}

local STEP_SECONDS = 0.1
local TICKS_A_BEAT = 1920 -- as Ardour counts
local IN_ANY_BAR = 1 / 32 -- quarter notes behind its bar line
local LOWEST_DB, HIGHEST_DB = -60, 30 -- what Segue takes
local FADER_DB = 192 -- from 0 dB down to where Ardour's faders end

local function at (sample)
	return Temporal.timepos_t (math.floor (sample + 0.5))
end

-- Where to ask for tempo and meter: Ardour 7 lets them hold from a sample later on.
local function behind (sample)
	return at (sample + 1)
end

local function quarters_of (meter)
	return meter:divisions_per_bar () * 4 / meter:note_value ()
end

local function tempo_at (map, sample)
	local place = behind (sample)
	return map:quarters_per_minute_at (place), quarters_of (map:meter_at (place))
end

-- Where the tempo or the meter began that holds at `sample`, but not before `earliest`.
local function began (map, sample, earliest, rate)
	local tempo = map:tempo_at (behind (sample)):to_point ():sample (rate)
	local meter = map:meter_at (behind (sample)):to_point ():sample (rate)
	local latest = math.max (tempo, meter)
	return latest > earliest and latest or sample
end

-- (seconds, bpm, quarter notes a bar), the first at 0. A ramp becomes small steps.
function curves.tempo (from, to)
	local map, rate = Temporal.TempoMap.read (), Session:nominal_sample_rate ()
	local step = STEP_SECONDS * rate
	local rows, bpm, beats = {}, nil, nil
	for i = 0, math.ceil ((to - from) / step) do
		local sample = from + i * step
		local new_bpm, new_beats = tempo_at (map, sample)
		if new_bpm ~= bpm or new_beats ~= beats then
			local begin = i == 0 and from or began (map, sample, sample - step, rate)
			rows[#rows + 1] = { (begin - from) / rate, new_bpm, new_beats }
			bpm, beats = new_bpm, new_beats
		end
	end
	return rows
end

-- How far into its bar a sample is, in quarter notes.
function curves.first_beat (sample)
	local map = Temporal.TempoMap.read ()
	local place = map:bbt_at (at (sample))
	local beats = place.beats - 1 + place.ticks / TICKS_A_BEAT
	return beats * 4 / map:meter_at (at (sample)):note_value ()
end

-- The sample so many bars after `sample`, each in its own meter.
function curves.bars_after (sample, bars)
	local map = Temporal.TempoMap.read ()
	local now = map:quarters_at (at (sample)) -- rounded to a tick, as what is later
	local function after (quarters)
		return now + Temporal.Beats.from_double (quarters)
	end
	local _, bar = tempo_at (map, sample)
	local into = curves.first_beat (sample)
	local line, left = -into, into / bar + bars -- from the bar line before
	while left >= 1 do
		line, left = line + bar, left - 1
		bar = quarters_of (map:meter_at_beats (after (line + IN_ANY_BAR)))
	end
	return sample + map:sample_at_beats (after (line + left * bar)) - map:sample_at_beats (now)
end

local function follows (control)
	local list = control:alist ()
	return not list:isnil () and list:size () > 0
		and control:automation_state () ~= ARDOUR.AutoState.Off
end

local function levels_of (track)
	return { track:trim_control (), track:gain_control () }
end

-- The factor by which trim and fader change what a track plays at a sample.
function curves.level (track, sample)
	local level = 1
	for _, control in ipairs (levels_of (track)) do
		level = level * (follows (control) and control:alist ():eval (at (sample))
			or control:get_value ())
	end
	return level
end

local function sampled (from, to, level_at)
	local rate, rows = Session:nominal_sample_rate (), {}
	for i = 0, math.ceil ((to - from) / (STEP_SECONDS * rate)) do
		local sample = math.min (from + i * STEP_SECONDS * rate, to)
		rows[i + 1] = { (sample - from) / rate, level_at (sample) }
	end
	return rows
end

local function within (value, low, high)
	return math.max (low, math.min (high, value))
end

-- (seconds, dB) where trim or fader are automated, else nil; and the level that is 0 dB: `level`,
-- that of the region, unless the curve rises so far above it that its top could not be said.
function curves.gain (track, from, to, level)
	if not follows (track:trim_control ()) and not follows (track:gain_control ()) then
		return nil
	end
	local rows = sampled (from, to, function (sample)
		return curves.level (track, sample)
	end)
	level = math.max (level, 10 ^ (LOWEST_DB / 20))
	for _, row in ipairs (rows) do
		level = math.max (level, row[2] / 10 ^ (HIGHEST_DB / 20))
	end
	for _, row in ipairs (rows) do
		local db = row[2] > 0 and 20 * math.log (row[2] / level, 10) or LOWEST_DB
		row[2] = within (db, LOWEST_DB, HIGHEST_DB)
	end
	return rows, level
end

-- Whether the curve of a lane is one of shares: trim and fader have decibels, a switch neither.
function curves.has_share (lane)
	local control = lane.control
	for _, level in ipairs (levels_of (lane.track)) do
		if control:id ():to_s () == level:id ():to_s () then
			return false
		end
	end
	return follows (control) and not control:toggled () and control:upper () > control:lower ()
end

-- As Ardour divides its faders: 0.78 at 0 dB of one that ends at 6 dB.
local function fader_height (gain, top)
	local db = gain > 0 and 6 * math.log (2 * gain / top, 2) or -FADER_DB
	return math.max (0, (db + FADER_DB) / (FADER_DB + 6)) ^ 8
end

-- How high in its lane a value is drawn, 0 to 1.
local function height (lane, value)
	local low, high = lane.control:lower (), lane.control:upper ()
	value = within (value, low, high)
	if lane.parameter == "send" then
		return fader_height (value, high)
	elseif lane.parameter == "pan-azimuth" then
		return 1 - value -- left is above
	elseif lane.control:desc ().logarithmic and low > 0 then
		return math.log (value / low) / math.log (high / low)
	end
	return (value - low) / (high - low)
end

-- (seconds, share) of a lane (see lanes.lua).
function curves.share (lane, from, to)
	local list = lane.control:alist ()
	return sampled (from, to, function (sample)
		return height (lane, list:eval (at (sample)))
	end)
end

return curves
