-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What the registered scripts call: start (folder of these files).
-- Ardour keeps a compiled copy of a registered script, so those do nothing but come here.

local home = ...
local loaded = {}

local function need (name)
	if loaded[name] == nil then
		local path = ARDOUR.LuaAPI.build_filename (home, name .. ".lua")
		local code = ARDOUR.LuaAPI.file_get_contents (path)
		loaded[name] = assert (load (code, "=segue/" .. name)) (need)
	end
	return loaded[name]
end

-- An error that left an action would unregister it.
local function guarded (act)
	return function (...)
		local ok, problem = pcall (act, ...)
		if not ok then
			need ("notices").warn (tostring (problem))
		end
	end
end

return {
	order = guarded (function (kind) need ("order") (kind) end),
	cancel = guarded (function () need ("cancel") () end),
	inbox = function () return need ("inbox") end,
}
