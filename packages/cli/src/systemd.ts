/**
 * What systemd wants of a service: to be told that it is ready and that it lives, and a unit that describes it. Owns the
 * unit's text. Node has no datagram sockets of the unix kind, so systemd's own `systemd-notify` sends the words.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Clock, type Logger, silentLogger } from '@aim-gpu/core';

/** Tells systemd how the service is; does nothing where there is none. */
export interface SystemdNotifier {
  ready(): Promise<void>;
  stopping(): Promise<void>;
  /** Says at half the watchdog's interval that it lives, while `isWell` holds, until the returned function is called. */
  watch(isWell: () => Promise<boolean>): () => void;
}

const run = promisify(execFile);

/** Makes a notifier from the environment that systemd gave (NOTIFY_SOCKET, WATCHDOG_USEC). */
export function createSystemdNotifier(options: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly logger?: Logger;
}): SystemdNotifier {
  const { env, clock, logger = silentLogger } = options;
  const socket = env['NOTIFY_SOCKET'];
  const send = async (...words: string[]): Promise<void> => {
    if (socket === undefined || socket === '') return;
    try {
      await run('systemd-notify', words, {
        env: { PATH: env['PATH'] ?? '/usr/bin:/bin', NOTIFY_SOCKET: socket },
      });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      logger.warn('systemd-not-told', { words, message });
    }
  };
  const intervalMs = Number(env['WATCHDOG_USEC'] ?? 0) / 2000;
  return {
    // As words, not as options: --stopping is younger than what many hosts have.
    ready: () => send('READY=1'),
    stopping: () => send('STOPPING=1'),
    watch: (isWell) => {
      if (!(intervalMs > 0)) return () => undefined;
      let stopped = false;
      let cancel: () => void = () => undefined;
      const beat = async (): Promise<void> => {
        if (await isWell().catch(() => false)) await send('WATCHDOG=1');
        if (!stopped) cancel = clock.timer(intervalMs, () => void beat());
      };
      void beat();
      return () => {
        stopped = true;
        cancel();
      };
    },
  };
}

/** The unit of an agent that is started by a command line. */
export function systemdUnit(commandLine: readonly string[]): string {
  return `[Unit]
Description=AIM GPU Sharing agent
Documentation=man:systemd.service(5)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
# systemd-notify is a child of the agent.
NotifyAccess=all
ExecStart=${commandLine.map(quote).join(' ')}
# Engines outlive the agent and are taken over by the next one: only the agent itself is stopped.
KillMode=process
Restart=always
RestartSec=100ms
WatchdogSec=30s
TimeoutStopSec=120s
StateDirectoryMode=0700

[Install]
WantedBy=multi-user.target
`;
}

function quote(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : JSON.stringify(escaped);
}
