-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What is going on, without a dialog: ranges above the timeline, and Window > Log.
-- Unlike markers made by the editor's own functions they leave no undo step.

local notices = {}

local OURS = "\u{2063}" -- neither seen nor typed: a marker that somebody else made has none
local PROGRESS, WARNING = OURS .. "Segue: ", OURS .. "Segue! "
local PIXELS_A_LETTER = 16 -- a range shows its name in its first half

local function wide (text, from, to)
	return math.max (to, from + math.floor (Editor:pixel_to_sample (PIXELS_A_LETTER * #text)))
end

local function add (name, from, to)
	local range = Session:locations ():add_range (
		Temporal.timepos_t (from), Temporal.timepos_t (wide (name, from, to)))
	range:set_name (name)
end

local function each (prefix, act)
	local found = {}
	for range in Session:locations ():list ():iter () do
		if range:name ():sub (1, #prefix) == prefix then
			found[#found + 1] = range
		end
	end
	for _, range in ipairs (found) do
		act (range)
	end
end

local function remove (range)
	Session:locations ():remove (range)
end

-- A warning stays until the next order, or until somebody removes it.
function notices.warn (text, from)
	print ("Segue: " .. text)
	from = from or Session:transport_sample ()
	add (WARNING .. text, from, from)
end

function notices.clear_warnings ()
	each (WARNING, remove)
end

function notices.clear_progress ()
	each (PROGRESS, remove)
end

-- The range of an order: (from, to) its samples, `before` the text it had.
function notices.progress (text, before, from, to)
	if before == nil then
		add (PROGRESS .. text, from, to)
		return
	end
	each (PROGRESS .. before, function (range)
		if range:start ():samples () == from then
			range:set_name (PROGRESS .. text)
		end
	end)
end

function notices.no_progress (before, from)
	each (PROGRESS .. before, function (range)
		if range:start ():samples () == from then
			remove (range)
		end
	end)
end

return notices
