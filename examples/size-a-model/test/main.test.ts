import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const example = path.resolve(import.meta.dirname, '..');

function run(...args: string[]): string {
  const tsx = ['--import', 'tsx', '--conditions=@aim-gpu/source', 'src/main.ts'];
  return execFileSync(process.execPath, [...tsx, ...args], { cwd: example, encoding: 'utf8' });
}

describe('size-a-model', () => {
  it('finds the layouts of an MI300X that hold a model of 32 billion parameters', () => {
    const lines = run().split('\n');
    expect(lines[0]).toBe('Qwen/Qwen3-32B-FP8: 32.76 billion parameters');
    expect(lines.find((line) => line.startsWith('QPX/NPS1'))).toContain('holds 4 sequences');
    expect(lines.find((line) => line.startsWith('CPX/NPS4'))).toContain('weights take');
  });

  it('takes another model and product', () => {
    const output = run('meta-llama/Llama-3.2-1B-Instruct', 'MI355X');
    expect(output).toContain('1.24 billion parameters');
    expect(output).toMatch(/CPX\/NPS1 .*holds 4 sequences/);
  });
});
