-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- LuaSocket, where this REAPER has it: in Lua's own folders, or in that of the ReaPack package
-- "Mavriq Lua Sockets".

local MAVRIQ = "/Scripts/Mavriq ReaScript Repository/Various/Mavriq-Lua-Sockets/?."
local CORE = "socket.core"
local MAX_BYTES = 1 << 24 -- of the library that are looked at

--- The Lua that a library brings along, as Mavriq's must; nil where it brings none.
local function lua_inside(path)
  local file = io.open(path, "rb")
  local bytes = file and file:read(MAX_BYTES) or ""
  if file then file:close() end
  return bytes:match("%$LuaVersion: (Lua %d+%.%d+)")
end

local function find()
  local mavriq = reaper.GetResourcePath() .. MAVRIQ
  package.cpath = table.concat({ package.cpath, mavriq .. "dll", mavriq .. "so" }, ";")
  local path = package.searchpath(CORE, package.cpath)
  if not path then return nil, "there is no LuaSocket" end
  -- One with another Lua inside than REAPER's does not fail: it takes REAPER down with it.
  local its = lua_inside(path)
  if its and its ~= _VERSION then return nil, ("LuaSocket is for %s: update it"):format(its) end
  local worked, core = pcall(require, CORE)
  if not worked then return nil, "LuaSocket cannot be loaded" end
  return core
end

local looked, core, problem = false, nil, nil

--- Its core; or nil, and why.
return function()
  if not looked then
    looked, core, problem = true, find()
  end
  return core, problem
end
