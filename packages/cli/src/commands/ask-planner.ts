/**
 * `aim-gpu explain`, `capacity`, `fragmentation`, `plan --what-if` and `plan --usage`: questions to the planner. Nothing is changed.
 */
import { formatBytes } from '@aim-gpu/core';
import {
  explainWorkload,
  type Fragmentation,
  findConflict,
  findMinimumCards,
  measureFragmentation,
  type PlanDifference,
  type PredictedWait,
  parseWhatIfChange,
  planFleet,
  predictWaits,
  reportUsage,
  type Usage,
  whatIf,
} from '@aim-gpu/scheduler';
import type { CommandContext } from '../context.js';
import type { DriverOptions } from '../drivers.js';
import type { FleetOptions } from '../fleet-input.js';
import { readFleetProblem } from '../planner-input.js';
import { formatTable } from '../table.js';

type Ask = FleetOptions & DriverOptions & { readonly file: string };

/** Options of `capacity`. */
export interface CapacityOptions {
  readonly gpu?: string;
  readonly most?: number;
}

/** Exit code when something found no place (CONTRACT §3). */
const EXIT_UNPLACED = 6;

/** Runs `explain`: exit code 0 when all of the workload is placed, 6 when not. */
export async function askExplain(
  context: CommandContext,
  options: Ask & { readonly workload: string },
): Promise<number> {
  const problem = await readFleetProblem(context, options);
  const answer = explainWorkload(problem, options.workload);
  const isPlaced = answer.unplaced === null;
  const conflict = isPlaced ? [] : findConflict(problem, options.workload);
  const wait = isPlaced
    ? null
    : (predictWaits(problem, planFleet(problem)).find(
        ({ workload }) => workload === options.workload,
      ) ?? null);
  if (context.json) context.print({ ...answer, conflict, wait });
  else {
    for (const { instance, shares, reasons } of answer.placements) {
      const where = shares.map(({ card, partition }) => `${card}/${partition}`).join(', ');
      context.say(`${instance} on ${where}`);
      for (const { code, message } of reasons) context.say(`  ${code}: ${message}`);
    }
    for (const { code, message, fix } of answer.unplaced?.reasons ?? [])
      context.say(`no place for ${answer.unplaced?.replicas}: ${code}: ${message}\n  fix: ${fix}`);
    if (conflict.length > 0)
      context.say(
        `drop one of these wishes: ${conflict.map(({ workload, wish }) => `${wish} of ${workload}`).join(', ')}`,
      );
    if (wait !== null) context.say(waitToText(wait));
    context.say(`of ${answer.partitions} partitions ${answer.open} could take one more`);
    for (const { code, partitions, example } of answer.removed)
      context.say(`  ${partitions} removed by ${code}: ${example}`);
  }
  return answer.unplaced === null ? 0 : EXIT_UNPLACED;
}

function waitToText({ waitMs, until }: PredictedWait): string {
  return waitMs === null
    ? 'no end of another model is known that would make room for it'
    : `gets a place in at most ${Math.ceil(waitMs / 60_000)} min, when ${until.join(', ')} ended`;
}

/** Runs `capacity`: exit code 0 when a number was found for each product, 6 when not. */
export async function askCapacity(
  context: CommandContext,
  options: Ask & CapacityOptions,
): Promise<number> {
  const problem = await readFleetProblem(context, options);
  const there = problem.inventories.flatMap(({ cards }) =>
    cards.flatMap(({ product }) => (product === null ? [] : [product])),
  );
  const products = options.gpu === undefined ? [...new Set(there)] : [options.gpu];
  const most = options.most === undefined ? {} : { most: options.most };
  const answers = products.map((product) => findMinimumCards(problem, { product, ...most }));
  if (context.json) {
    context.print({
      products: answers.map((answer) => ({
        product: answer.product,
        cards: answer.ok ? answer.cards : null,
        memoryUsed: answer.ok ? answer.memoryUsed : null,
        unplaced: answer.plan.unplaced,
      })),
    });
  } else {
    for (const answer of answers) {
      context.say(
        answer.ok
          ? `${answer.cards} x ${answer.product}, ${(answer.memoryUsed * 100).toFixed(0)} % of their memory used`
          : `no number of ${answer.product} serves it: ${answer.plan.unplaced[0]?.reasons[0]?.message ?? ''}`,
      );
    }
  }
  return answers.every((answer) => answer.ok) ? 0 : EXIT_UNPLACED;
}

/** Runs `fragmentation` on the plan of the fleet. */
export async function askFragmentation(context: CommandContext, options: Ask): Promise<number> {
  const problem = await readFleetProblem(context, options);
  const answer = measureFragmentation(problem, planFleet(problem));
  if (context.json) context.print(answer);
  else {
    const row = (place: string, { idleBytes, lostBytes, ratio }: Fragmentation): string[] => [
      place,
      formatBytes(idleBytes),
      formatBytes(lostBytes),
      `${(ratio * 100).toFixed(0)} %`,
    ];
    context.say(
      formatTable(
        ['WHERE', 'IDLE', 'LOST', 'RATIO'],
        [
          row('fleet', answer.fleet),
          ...answer.nodes.map((node) => row(node.node, node)),
          ...answer.cards.map((card) => row(`${card.node} ${card.card}`, card)),
        ],
      ),
    );
  }
  return 0;
}

/** Runs `plan --usage`: what the plan uses and what that costs; exit code by the plan. */
export async function askUsage(context: CommandContext, options: Ask): Promise<number> {
  const problem = await readFleetProblem(context, options);
  const plan = planFleet(problem);
  const answer = reportUsage(problem, plan);
  if (context.json) context.print(answer);
  else {
    const price = (perHour: number | null): string => perHour?.toFixed(2) ?? '-';
    const row = (place: string, usage: Usage): string[] => [
      place,
      String(usage.cards),
      String(usage.emptyCards),
      formatBytes(usage.sharedBytes),
      formatBytes(usage.memoryBytes),
      `${(usage.ratio * 100).toFixed(0)} %`,
      price(usage.pricePerHour),
    ];
    context.say(
      formatTable(
        ['WHERE', 'CARDS', 'EMPTY', 'SHARED', 'OF', 'USED', 'PRICE/H'],
        [
          row('fleet', answer.fleet),
          ...answer.nodes.map((node) => row(node.node, node)),
          ...answer.cards.map((card) => row(`${card.node} ${card.card}`, card)),
        ],
      ),
    );
    context.say(
      formatTable(
        ['MODEL', 'INSTANCES', 'SHARED', 'PRICE/H'],
        answer.workloads.map(({ workload, instances, sharedBytes, pricePerHour }) => [
          workload,
          String(instances),
          formatBytes(sharedBytes),
          price(pricePerHour),
        ]),
      ),
    );
  }
  return plan.unplaced.length === 0 ? 0 : EXIT_UNPLACED;
}

/** Runs `plan --what-if`: exit code by the plan with the changes. */
export async function askWhatIf(
  context: CommandContext,
  options: Ask & { readonly whatIf: readonly string[] },
): Promise<number> {
  const changes = options.whatIf.map(parseWhatIfChange);
  const answer = whatIf(await readFleetProblem(context, options), changes);
  if (context.json) context.print(answer);
  else context.say(differenceToText(answer.difference));
  return answer.after.unplaced.length === 0 ? 0 : EXIT_UNPLACED;
}

function differenceToText({ gained, lost, moved, layouts }: PlanDifference): string {
  const lines = [
    ...layouts.map(
      ({ card, before, after }) => `${card}: ${before ?? 'none'} to ${after ?? 'none'}`,
    ),
    ...(gained.length > 0 ? [`placed too: ${gained.join(', ')}`] : []),
    ...(lost.length > 0 ? [`no longer placed: ${lost.join(', ')}`] : []),
    ...(moved.length > 0 ? [`elsewhere: ${moved.join(', ')}`] : []),
  ];
  return lines.length === 0 ? 'nothing would change' : lines.join('\n');
}
