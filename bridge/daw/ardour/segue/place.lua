-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Files onto tracks: imported into the session, one region each, one undo step for all.

local need = ...
local anchor = need ("anchor")

local MOST_TRACKS = 99

-- Frames and rate of a WAV file; Ardour's resampling may end with a sample too many.
local function size_of (path)
	local file = assert (io.open (path, "rb"))
	local _, _, kind = string.unpack ("<c4I4c4", file:read (12))
	assert (kind == "WAVE", path .. " is no WAV file")
	local frame_bytes, rate
	while true do
		local chunk, size = string.unpack ("<c4I4", file:read (8))
		if chunk == "data" then
			file:close ()
			return size // frame_bytes, rate
		end
		local content = file:read (size + size % 2)
		if chunk == "fmt " then
			_, _, rate, _, frame_bytes = string.unpack ("<I2I2I4I4I2", content)
		end
	end
end

local function whole_files ()
	local found = {}
	for _, region in pairs (ARDOUR.RegionFactory.regions ():table ()) do
		if region:whole_file () then
			found[region:to_stateful ():id ():to_s ()] = region
		end
	end
	return found
end

-- Copies a file into the session; its region is on no track yet.
-- That is an undo step of its own, which undoes nothing: inside one of ours, Ardour drops both.
local function import (path)
	local before, files = whole_files (), C.StringVector ()
	files:push_back (path)
	Editor:do_import (files, Editing.ImportDistinctFiles, Editing.ImportAsRegion,
		ARDOUR.SrcQuality.SrcBest, ARDOUR.MidiTrackNameSource.SMFTrackName,
		ARDOUR.MidiTempoMapDisposition.SMFTempoIgnore, Temporal.timepos_t (0),
		ARDOUR.PluginInfo (), ARDOUR.Track (), false)
	for id, region in pairs (whole_files ()) do
		if not before[id] then
			return region
		end
	end
	error ("Ardour did not import " .. path, 0)
end

local function new_track (name, order)
	local made = Session:new_audio_track (order.inputs, order.outputs, nil, 1, name,
		ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, true)
	for track in made:iter () do
		track:gain_control ():set_value (order.fader, PBD.GroupControlDisposition.NoGroup)
		return track:to_track ()
	end
	error ("Ardour made no track", 0)
end

-- Earlier takes of the same are no obstacle: the newest lies on top of them, and is heard alone.
local function has_room (track, span, prefix)
	local last = Temporal.timepos_t (span.at + span.length - 1)
	for region in track:playlist ():regions_touched (Temporal.timepos_t (span.at), last):iter () do
		if region:name ():sub (1, #prefix) ~= prefix then
			return false
		end
	end
	return true
end

-- AI, AI 2, ...: the first that is as wide as the region's track, with room there, and not taken
-- by a sister clip.
local function track_for (order, span, prefix, taken)
	for number = 1, MOST_TRACKS do
		local name = number == 1 and "AI" or "AI " .. number
		local route = Session:route_by_name (name)
		if route:isnil () then
			taken[name] = true
			return new_track (name, order)
		end
		local track = route:to_track ()
		if not taken[name] and not track:isnil () and not track:to_audio_track ():isnil ()
			and track:n_inputs ():n_audio () == order.inputs and has_room (track, span, prefix) then
			taken[name] = true
			return track
		end
	end
	error ("there are " .. MOST_TRACKS .. " AI tracks: remove some", 0)
end

-- Where a clip goes, in samples of the timeline.
local function span_of (order, clip, rate)
	local frames, file_rate = size_of (clip.path)
	local at = order.position + math.floor (clip.at * rate + 0.5)
	return { at = at, length = math.floor (frames * rate / file_rate + 0.5) }
end

-- An overlay belongs to its region only as loud as that is heard.
local function gain_on (track, order)
	local fader = track:gain_control ():get_value ()
	return fader > 0 and order.fader > 0 and order.fader / fader or 1
end

-- A fade would part an overlay from the region it lies over; its far ends keep theirs.
local function part (order, each, rate)
	local region, span = ARDOUR.RegionFactory.clone_region (each.imported, true, false), each.span
	if region:length ():samples () > span.length then
		region:set_length (Temporal.timecnt_t (span.length))
	end
	local over_to = order.position + order.length * rate
	local audio, overlay = region:to_audioregion (), each.clip.overlay
	audio:set_scale_amplitude (gain_on (each.track, order))
	audio:set_fade_in_active (not overlay or span.at < order.position)
	audio:set_fade_out_active (not overlay or span.at + span.length > over_to)
	return region
end

-- Lays clips (path, at, overlay) where `order` wants them; returns the tracks' names, and the id of
-- the newest region. Of several the first and best is heard, the others are muted. An error, and
-- nothing, where it does not fit.
return function (order, clips)
	anchor.check (order)
	local rate, taken, laid, names = Session:nominal_sample_rate (), {}, {}, {}
	local prefix = ("%s %s "):format (order.region, order.kind)
	for i, clip in ipairs (clips) do
		local span = span_of (order, clip, rate)
		local track = track_for (order, span, prefix, taken)
		laid[i] = { clip = clip, span = span, imported = import (clip.path), track = track }
		names[i] = track:name ()
	end
	local newest
	Session:begin_reversible_command ("Segue: " .. order.kind)
	for i, each in ipairs (laid) do
		local region = part (order, each, rate)
		region:set_name (prefix .. i)
		region:set_muted (i > 1)
		local playlist = each.track:playlist ()
		playlist:to_stateful ():clear_changes ()
		newest = region:to_stateful ():id ():to_s ()
		playlist:add_region (region, Temporal.timepos_t (each.span.at), 1, false)
		Session:add_stateful_diff_command (playlist:to_statefuldestructible ())
	end
	Session:commit_reversible_command (nil)
	return names, newest
end
