#!/usr/bin/env python3
"""test_jit - a program that makes code as it runs, in Debian's cloud kernel on engine translate.

    test_jit.py TINAMOU SOURCE [OPTIONS of tinamou run]

LuaJIT compiles traces of sieves, sorts, strings, floating point and closures, drops them and
compiles them again; each result is that of its own interpreter (-joff). Two vCPUs, a process
on each. Exit status 77: no kernel or no package to be had.
"""
import argparse
import pathlib
import sys

PROGRAM = r"""
local function sieve(n)
  local p, c = {}, 0
  for i = 2, n do p[i] = true end
  for i = 2, n do if p[i] then c = c + 1; for j = i * i, n, i do p[j] = false end end end
  return c
end
local function sorted(n)
  local t, x = {}, 42
  for i = 1, n do x = (x * 1103515245 + 12345) % 2147483648; t[i] = x end
  table.sort(t, function(a, b) return a < b end)
  local h = 0
  for i = 1, n do h = (h * 31 + t[i]) % 1000000007 end
  return h
end
local function floats(n)
  local s = 0
  for i = 1, n do s = s + math.sin(i) / math.sqrt(i + 0.5) end
  return string.format("%.9f", s)
end
local function strings(n)
  local t = {}
  for i = 1, n do t[#t + 1] = string.format("%d:%x", i, i * 7) end
  local s = table.concat(t, ",")
  return #s .. ":" .. select(2, s:gsub("%x+", ""))
end
local function closures(n)
  local f = {}
  for i = 1, 50 do f[i] = loadstring("local x = ... return x * " .. i .. " + " .. i) end
  local s = 0
  for i = 1, n do s = (s + f[i % 50 + 1](i)) % 1000003 end
  return s
end
for round = 1, 3 do
  print(round, sieve(5000 * round), sorted(500 * round), floats(5000), strings(300), closures(5000))
  if jit.status() then jit.flush(); jit.opt.start("hotloop=" .. round * 3) end
end
"""


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("tinamou", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    args, options = parser.parse_known_args()
    sys.path.insert(0, str(args.source / "tools"))
    import linux_guest  # by the path above
    try:
        guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
        guest.add_packaged("luajit", "usr/bin/luajit", "bin/luajit")
    except linux_guest.Missing as why:
        print(f"no guest to run: {why}")
        return 77
    guest.cpio.file("program.lua", PROGRAM.encode())
    machine = linux_guest.tinamou(args.tinamou, "--engine", "translate", "--memory", "512M", "--cpus", "2",
                                  *options)
    results = guest.run(machine, [
        ("interpreted", "luajit -joff /program.lua"),
        ("compiled", "luajit -jon /program.lua > a & luajit -jon /program.lua > b; wait; cmp a b && cat a"),
    ], limit=250, timeout=500)
    good = results["interpreted"] == results["compiled"] and results["compiled"][0] == 0
    print("ok   jit:luajit" if good else f"FAIL jit:luajit {results}")
    return 0 if good else 1


sys.exit(main())
