/**
 * The two small shell programs around an engine process. Constant text: what varies reaches them as arguments or
 * through a pipe, never as shell source. Owns the promise that nothing outlives the launching process; starts nothing.
 */

/** Set in the engine's environment, inherited by its children, so that they are found even outside its group. */
export const LAUNCH_ID_VARIABLE = 'AIM_GPU_LAUNCH_ID';

/** Set in the environment of engines that outlive their launcher: whose they are, so that lost ones are found. */
export const OWNER_VARIABLE = 'AIM_GPU_OWNER';

/**
 * Waits at a gate (file descriptor 3) and becomes the engine when told to. When the launching process dies before the
 * guard knows the group, the gate reads end of file and nothing was ever started.
 */
export const GATE_SCRIPT = 'read -r go <&3 || exit 125; exec 3<&-; exec "$@"';

/**
 * Reads `<process group> <start time of its leader>`, then waits on its pipe. `reap` kills the group at once; end of
 * file means that the launching process is gone, so the group gets a second to stop by itself first.
 *
 * It lives in a session of its own, so neither a terminal nor the engine's group can signal it. A group number given
 * to somebody else meanwhile is recognised by the leader's start time (proc(5), field 22). Children that left the
 * group are found by the launch id in their environment.
 */
export const GUARD_SCRIPT: string = `
trap '' HUP INT QUIT TERM PIPE USR1 USR2
launch=$1
read -r group start || exit 0
case $group in ''|*[!0-9]*|0|1) exit 0 ;; esac

ours() {
  read -r stat 2>/dev/null < "/proc/$group/stat" || return 0
  set -- \${stat##*) }
  [ -z "\${20}" ] || [ "$start" = 0 ] || [ "\${20}" = "$start" ]
}
strays() {
  grep -lsF "${LAUNCH_ID_VARIABLE}=$launch" /proc/[0-9]*/environ 2>/dev/null
}
strike() {
  ours && kill -s "$1" -- "-$group" 2>/dev/null
  for file in $(strays); do
    pid=\${file#/proc/}
    kill -s "$1" "\${pid%/environ}" 2>/dev/null
  done
}
# Zombies do not count: who must collect them may take its time (process 1 of a container may never do it).
left() {
  { ours && grep -qsE "\\) [^ZX] [0-9]+ $group " /proc/[0-9]*/stat 2>/dev/null; } || [ -n "$(strays)" ]
}

read -r word
if [ "$word" != reap ]; then
  strike TERM
  sleep 1
fi
round=0
while [ "$round" -lt 20 ]; do
  strike KILL
  left || exit 0
  sleep 0.1 2>/dev/null || sleep 1
  round=$((round + 1))
done
exit 1
`;
