#!/usr/bin/env node
// The official Python client against the gateway over the quickstart's simulated engines. Ends with 75 where Python or
// the package cannot be had; it is installed into a folder of its own, outside the checkout.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const UNAVAILABLE = 75;
const root = path.resolve(import.meta.dirname, '../../..');
const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-python-'));
const SCRIPT = `
import openai, sys
base = sys.argv[1]
client = openai.OpenAI(base_url=base, api_key="none")
messages = [{"role": "user", "content": "hello"}]
answer = client.chat.completions.create(model="assistant", messages=messages, max_tokens=8)
assert answer.usage.completion_tokens == 8, answer
chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=messages, max_tokens=8, stream=True))
assert len(chunks) > 1 and all(chunk.usage is None for chunk in chunks), chunks
assert "assistant" in [model.id for model in client.models.list()]
try:
    client.chat.completions.create(model="nothing", messages=messages)
    raise SystemExit("an unknown model was served")
except openai.NotFoundError as error:
    assert error.code == "model_not_found"
stream = client.chat.completions.create(model="assistant", messages=messages, max_tokens=2000, stream=True)
next(iter(stream))
stream.close()
print("openai-python", openai.__version__, "ok")
`;

function cannot(reason) {
  rmSync(directory, { recursive: true, force: true });
  console.log(reason);
  process.exit(UNAVAILABLE);
}

try {
  const pip = ['-m', 'pip', 'install', '--quiet', '--target', directory, 'openai'];
  execFileSync('python3', pip, { timeout: 120_000, stdio: ['ignore', 'ignore', 'pipe'] });
} catch {
  cannot('the Python package openai cannot be installed here');
}
const state = path.join(directory, 'state');
const command = path.join(root, 'packages/cli/bin/aim-gpu.mjs');
const fleet = path.join(root, 'examples/quickstart/fleet.yaml');
const flags = ['--free-ports', '--json', '--state-dir', state];
const server = spawn(process.execPath, [command, 'up', fleet, ...flags], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = new Promise((resolve) => server.once('exit', resolve));
try {
  const url = await new Promise((resolve, reject) => {
    let text = '';
    server.stdout.on('data', (chunk) => {
      text += chunk;
      for (const line of text.split('\n').slice(0, -1)) {
        const event = JSON.parse(line);
        if (event.event === 'ready') resolve(event.gateway);
      }
    });
    server.once('exit', () => reject(new Error('up ended before it was ready')));
  });
  const output = execFileSync('python3', ['-c', SCRIPT, `${url}/v1`], {
    env: { ...process.env, PYTHONPATH: directory },
    timeout: 120_000,
  });
  process.stdout.write(output);
} finally {
  server.kill('SIGINT');
  await ended;
  rmSync(directory, { recursive: true, force: true });
}
