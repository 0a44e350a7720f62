/**
 * Which processes of this host are alive, told apart by their start times because pids are used again. The only file
 * of the package that reads the host.
 */
import { readFileSync } from 'node:fs';

/** What the simulated machine needs to know about processes. */
export interface ProcessTable {
  /** A text that differs for each process that ever had this pid; null when none has it; '' when the host does not say. */
  startTime(pid: number): string | null;
}

/** The processes of this host: by /proc where there is one, else by signal 0, which cannot tell a reused pid. */
export const hostProcesses: ProcessTable = {
  startTime: (pid) => {
    if (process.platform === 'linux') return readStartTime(pid);
    try {
      process.kill(pid, 0);
      return '';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EPERM' ? '' : null;
    }
  },
};

function readStartTime(pid: number): string | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The command in parentheses may hold blanks and parentheses itself, so fields are counted from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // State (field 3): a zombie has given its devices back. Start time: field 22 of proc(5).
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? '');
}
