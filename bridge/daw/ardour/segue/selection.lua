-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Which region is meant, which stretch of the timeline, and which automation curve.

local need = ...
local selected_lanes, curves, anchor = need ("lanes"), need ("curves"), need ("anchor")

local function track_of (region)
	local id = region:to_stateful ():id ():to_s ()
	for route in Session:get_tracks ():iter () do
		local track = route:to_track ()
		if anchor.on (track, id) then
			return track
		end
	end
end

local function tracks_of (selection, lanes)
	local tracks = {}
	for route in selection.tracks:routelist ():iter () do
		local track = route:to_track ()
		if not track:isnil () then
			tracks[#tracks + 1] = track
		end
	end
	for _, lane in ipairs (lanes) do
		tracks[#tracks + 1] = lane.track
	end
	return tracks
end

-- A selected range takes the selection away from regions: then the region below its start on
-- the first selected track that has one, or the one that ends there.
local function below (range, tracks)
	for _, track in ipairs (tracks) do
		for _, at in ipairs ({ range.from, range.from - 1 }) do
			local region = track:playlist ():top_region_at (Temporal.timepos_t (math.max (at, 0)))
			if not region:isnil () then
				return region
			end
		end
	end
end

-- So does a selected lane, and who draws in it need not begin where a region ends: then the one
-- that ends last, of those that begin before `limit`.
local function last_on (track, limit)
	local last, latest = nil, 0
	for region in track:playlist ():region_list ():iter () do
		local from = region:position ():samples ()
		local to = from + region:length ():samples ()
		if from < limit and to > latest then
			last, latest = region, to
		end
	end
	return last
end

local function only_region (selection)
	local only
	for region in selection.regions:regionlist ():iter () do
		if only then
			error ("select one region, not several", 0)
		end
		only = region
	end
	return only
end

-- Of several curves none is meant more than the others: they may be selected with everything else.
local function only_lane (lanes, track)
	local only
	for _, lane in ipairs (lanes) do
		if lane.track == track and curves.has_share (lane) then
			if only then
				print ("Segue: follows none of the curves, for several are selected")
				return nil
			end
			only = lane
		end
	end
	return only
end

local function range_of (time)
	local range = { from = time:start_sample (), to = time:end_sample () }
	return range.from < range.to and range or nil
end

local function region_of (selection, range, lanes)
	local region = only_region (selection)
	if not region and range then
		region = below (range, tracks_of (selection, lanes))
	end
	if not region and lanes[1] then
		region = last_on (lanes[1].track, range and range.from or math.huge)
	end
	if not region or region:to_audioregion ():isnil () then
		error ("select an audio region, or a range in one", 0)
	end
	return region
end

-- The region, its track, the range {from, to} in samples, and the lane whose curve is selected
-- (see lanes.lua), the last two nil where none is.
return function ()
	local selection, lanes = Editor:get_selection (), selected_lanes ()
	local range = range_of (selection.time)
	local region = region_of (selection, range, lanes)
	local track = track_of (region)
	return region, track, range, only_lane (lanes, track)
end
