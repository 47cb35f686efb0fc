-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Which automation curves are selected. Lua is not told of lanes and their points, but they are in
-- the notes that Ardour's editor takes; setting how it snaps makes it write them down.

local NODES = { -- what is selected: its track and its curve, as numbers that Ardour gives
	AutomationView = { "id", "ctrl_id" },
	ControlPoint = { "route%-id", "automation%-list%-id" },
}

local function notes ()
	Editor:set_snap_mode (Editor:snap_mode ())
	local file = io.open (ARDOUR.LuaAPI.build_filename (Session:path (), "instant.xml"), "rb")
	if not file then
		return ""
	end
	local editor = file:read ("a"):match ("<Editor (.-)</Editor>")
	file:close ()
	return editor and editor:match ("<Selection>(.-)</Selection>") or ""
end

local function has_number (object, id)
	return not object:isnil () and object:id ():to_s () == id
end

-- By its own number or that of its points.
local function control_of (id)
	for each in PBD.Controllable.registered_controllables ():iter () do
		local control = each:to_automationcontrol ()
		if has_number (control, id)
			or not control:isnil () and has_number (control:alist ():to_stateful (), id) then
			return control
		end
	end
end

local function lane_of (attributes, names)
	local function value (name)
		return attributes:match ("%f[%w_]" .. name .. '="([^"]*)"') or ""
	end
	local route = Session:route_by_id (PBD.ID (value (names[1])))
	local control = control_of (value (names[2]))
	if control and not route:isnil () and not route:to_track ():isnil () then
		return { track = route:to_track (), control = control, parameter = value ("parameter") }
	end
end

-- Each with track, control, and parameter (Ardour's word for what it is).
return function ()
	local lanes, known = {}, {}
	for node, attributes in notes ():gmatch ("<(%w+) (.-)/>") do
		local lane = NODES[node] and lane_of (attributes, NODES[node])
		local id = lane and lane.control:id ():to_s ()
		if lane and not known[id] then
			lanes[#lanes + 1], known[id] = lane, true
		end
	end
	return lanes
end
