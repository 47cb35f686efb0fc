-- Segue: placed by `segue install`, which replaces it: changes are lost.
ardour {
	["type"] = "EditorHook", name = "Segue: inbox", license = "Apache-2.0", author = "Segue",
	description = [[Lays what Segue has made on the track AI. Choose the signal LuaTimerDS.]]
}

function signals ()
	local set = LuaSignal.Set ()
	set:add ({[LuaSignal.LuaTimerDS] = true})
	return set
end

function factory ()
	local home = ARDOUR.LuaAPI.build_filename (ARDOUR.user_config_directory (-1), "segue")
	local code = ARDOUR.LuaAPI.file_get_contents (ARDOUR.LuaAPI.build_filename (home, "start.lua"))
	local inbox = load (code, "=segue") (home).inbox ()
	return function ()
		inbox ()
	end
end
