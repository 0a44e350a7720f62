/**
 * Finds the file a command names, as execvp(3) would. Owns the lookup only; a file that is found may still fail to run.
 */
import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';

/** The absolute path of an executable file, or why there is none. */
export function findProgram(
  name: string,
  searchPath: string | undefined,
): { readonly ok: true; readonly file: string } | { readonly ok: false; readonly reason: string } {
  if (name === '') return { ok: false, reason: 'the command is empty' };
  if (name.includes('/')) {
    const file = path.resolve(name);
    const problem = executableProblem(file);
    return problem === null ? { ok: true, file } : { ok: false, reason: `${file} ${problem}` };
  }
  const directories = (searchPath ?? '').split(path.delimiter).filter((entry) => entry !== '');
  for (const directory of directories) {
    const file = path.resolve(directory, name);
    if (executableProblem(file) === null) return { ok: true, file };
  }
  return {
    ok: false,
    reason: `${name} is not in any of the ${directories.length} directories of PATH`,
  };
}

function executableProblem(file: string): string | null {
  try {
    if (!statSync(file).isFile()) return 'is not a file';
    accessSync(file, constants.X_OK);
    return null;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'EACCES' ? 'may not be executed' : 'does not exist';
  }
}
