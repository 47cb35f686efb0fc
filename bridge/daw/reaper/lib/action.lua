-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- One task without a window: it begins at once, and says in the console what went wrong.

local use = ...
local loop, settings, request, tasks = use("loop"), use("settings"), use("request"), use("tasks")

local function say(text)
  reaper.ShowConsoleMsg("Segue: " .. text .. "\n")
end

local function wish_for(task)
  local wish = settings.load()
  if wish.task ~= task then wish.task, wish.preset = task, tasks[task].presets[1] end
  return wish
end

return function(task)
  local asked, problem = request.new(wish_for(task))
  if not asked then return say(problem) end
  local mark = settings.stop_mark()
  reaper.atexit(function() asked:cancel() end)
  loop(function()
    if settings.stop_mark() ~= mark then
      mark = settings.stop_mark()
      asked:cancel()
    end
    asked:step()
    if asked.state == "failed" then say(asked.text) end
    return not asked:ended()
  end)
end
