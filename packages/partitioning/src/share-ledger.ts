/**
 * Who holds how much of which partition. Derived anew from what devices show and what is assigned, so that it cannot
 * drift from them; a claim is granted out of what is free or not at all, so that nothing is sold twice. Pure: every
 * operation gives the next ledger.
 */
import {
  type Assignment,
  type Bytes,
  bytes,
  type CardId,
  formatBytes,
  type InstanceId,
  type Inventory,
  type Reason,
} from '@aim-gpu/core';

/** A slice of one partition that an instance wants or holds. */
export interface ShareClaim {
  readonly card: CardId;
  readonly partition: number;
  readonly memoryBytes: Bytes;
  /** Nobody else may have a share of this partition. */
  readonly exclusive?: boolean;
}

/** A share and its holder. */
export interface HeldShare extends ShareClaim {
  readonly instance: InstanceId;
}

/** One partition's account. */
export interface PartitionAccount {
  readonly card: CardId;
  readonly partition: number;
  /** As the device shows it. */
  readonly capacityBytes: Bytes;
  /** Never handed out. */
  readonly reserveBytes: Bytes;
  readonly held: readonly HeldShare[];
  /** What a claim can still get; 0 where more is held than there is. */
  readonly freeBytes: Bytes;
}

/** The accounts of a node and what is wrong with them. */
export interface ShareLedger {
  /** Share of each partition that is never handed out, 0 to 1. */
  readonly memoryReserve: number;
  /** By card and partition, in the inventory's order. */
  readonly accounts: readonly PartitionAccount[];
  /**
   * Assignments that the devices do not bear out: `PARTITION_GONE`, `CAPACITY_UNREAD`, `OVERSOLD`. Nothing more is
   * granted from an oversold partition until it is no longer so.
   */
  readonly problems: readonly (Reason & { readonly instances: readonly InstanceId[] })[];
}

/** A granted claim's ledger, or why it is not granted. */
export type ClaimResult =
  | { readonly ok: true; readonly ledger: ShareLedger }
  | { readonly ok: false; readonly reasons: readonly Reason[] };

/**
 * Derives the ledger from what was read back and what is assigned on this node. `memoryReserve` is the policy's share of
 * each partition, 0 to 1.
 */
export function deriveLedger(options: {
  readonly inventory: Inventory;
  readonly assignments: readonly Assignment[];
  readonly memoryReserve: number;
}): ShareLedger {
  const { inventory, assignments, memoryReserve } = options;
  const held = assignments.flatMap(({ instance, shares }) =>
    shares
      .filter((share) => share.node === inventory.node)
      .map(
        ({ card, partition, memoryBytes }): HeldShare => ({
          instance,
          card,
          partition,
          memoryBytes,
        }),
      ),
  );
  const accounts: PartitionAccount[] = [];
  const problems: ShareLedger['problems'][number][] = [];
  for (const { id: card, partitions } of inventory.cards)
    for (const { index, memoryBytes } of partitions) {
      const mine = held.filter((share) => share.card === card && share.partition === index);
      if (memoryBytes === null) {
        if (mine.length > 0)
          problems.push({
            code: 'CAPACITY_UNREAD',
            message: `the capacity of partition ${index} of ${card} cannot be read`,
            instances: mine.map((share) => share.instance),
          });
        continue;
      }
      const account = toAccount(card, index, memoryBytes, memoryReserve, mine);
      accounts.push(account);
      const total = sum(mine);
      if (total > memoryBytes)
        problems.push({
          code: 'OVERSOLD',
          message: `partition ${index} of ${card} has ${formatBytes(memoryBytes)} and ${formatBytes(bytes(total))} are held`,
          instances: mine.map((share) => share.instance),
        });
    }
  const there = new Set(
    inventory.cards.flatMap(({ id, partitions }) =>
      partitions.map(({ index }) => `${id}/${index}`),
    ),
  );
  for (const share of held.filter(({ card, partition }) => !there.has(`${card}/${partition}`)))
    problems.push({
      code: 'PARTITION_GONE',
      message: `${share.instance} is on partition ${share.partition} of ${share.card}, which is not there`,
      instances: [share.instance],
    });
  return { memoryReserve, accounts, problems };
}

/**
 * Grants all claims of an instance or none. Reasons: `PARTITION_UNKNOWN`, `SHARE_TOO_LARGE` (more than is free, which
 * the message names), `PARTITION_HELD` (an exclusive claim on a partition in use, or any claim on one held exclusively),
 * `ALREADY_HELD` (the instance has shares; release them first).
 */
export function claimShares(
  ledger: ShareLedger,
  instance: InstanceId,
  claims: readonly ShareClaim[],
): ClaimResult {
  const reasons: Reason[] = [];
  if (ledger.accounts.some((account) => account.held.some((share) => share.instance === instance)))
    return refuse('ALREADY_HELD', `${instance} holds shares already`);
  let accounts = ledger.accounts;
  for (const claim of claims) {
    const at = accounts.findIndex(
      ({ card, partition }) => card === claim.card && partition === claim.partition,
    );
    const account = accounts[at];
    const where = `partition ${claim.partition} of ${claim.card}`;
    if (account === undefined) {
      reasons.push({ code: 'PARTITION_UNKNOWN', message: `there is no ${where}` });
      continue;
    }
    const others = account.held.filter((share) => share.instance !== instance);
    if (
      others.some((share) => share.exclusive === true) ||
      (claim.exclusive && others.length > 0)
    ) {
      const names = others.map((share) => share.instance).join(', ');
      reasons.push({ code: 'PARTITION_HELD', message: `${where} is held by ${names}` });
      continue;
    }
    if (claim.memoryBytes > account.freeBytes) {
      reasons.push({
        code: 'SHARE_TOO_LARGE',
        message: `${where} has ${formatBytes(account.freeBytes)} free, ${formatBytes(claim.memoryBytes)} were asked for`,
      });
      continue;
    }
    const held = [...account.held, { ...claim, instance }];
    accounts = accounts.with(
      at,
      toAccount(account.card, account.partition, account.capacityBytes, ledger.memoryReserve, held),
    );
  }
  return reasons.length > 0
    ? { ok: false, reasons }
    : { ok: true, ledger: { ...ledger, accounts } };
}

/** Gives back everything an instance holds. */
export function releaseShares(ledger: ShareLedger, instance: InstanceId): ShareLedger {
  const accounts = ledger.accounts.map((account) => {
    const held = account.held.filter((share) => share.instance !== instance);
    return held.length === account.held.length
      ? account
      : toAccount(
          account.card,
          account.partition,
          account.capacityBytes,
          ledger.memoryReserve,
          held,
        );
  });
  return { ...ledger, accounts };
}

/**
 * Gives an instance other shares in place of its own, or leaves everything as it was. Reasons as {@link claimShares}.
 */
export function resizeShares(
  ledger: ShareLedger,
  instance: InstanceId,
  claims: readonly ShareClaim[],
): ClaimResult {
  return claimShares(releaseShares(ledger, instance), instance, claims);
}

function refuse(code: string, message: string): ClaimResult {
  return { ok: false, reasons: [{ code, message }] };
}

function toAccount(
  card: CardId,
  partition: number,
  capacityBytes: Bytes,
  memoryReserve: number,
  held: readonly HeldShare[],
): PartitionAccount {
  const reserveBytes = bytes(Math.ceil(capacityBytes * memoryReserve));
  const free = Math.max(0, capacityBytes - reserveBytes - sum(held));
  return { card, partition, capacityBytes, reserveBytes, held, freeBytes: bytes(free) };
}

function sum(held: readonly HeldShare[]): number {
  return held.reduce((total, share) => total + share.memoryBytes, 0);
}
