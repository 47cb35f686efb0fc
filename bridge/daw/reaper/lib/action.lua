-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- One task without a window: it begins at once, and says in the console what there is to say.

local use = ...
local loop, settings, request, tasks = use("loop"), use("settings"), use("request"), use("tasks")
local say, leftover = use("say"), use("leftover")

local function wish_for(task)
  local wish = settings.load()
  if wish.task ~= task then wish.task, wish.preset = task, tasks[task].presets[1] end
  return wish
end

return function(task)
  local left = leftover.notice()
  if left then say(left) end
  local asked = request.new(wish_for(task))
  local mark, told = settings.stop_mark(), nil
  local function tell()
    if asked.notice and asked.notice ~= told then say(asked.notice) end
    told = asked.notice or told
  end
  reaper.atexit(function()
    asked:leave()
    tell()
  end)
  loop(function()
    if settings.stop_mark() ~= mark then
      mark = settings.stop_mark()
      asked:cancel()
    end
    asked:step()
    tell()
    return not asked:ended()
  end)
end
