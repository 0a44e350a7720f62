/**
 * Predictions over a range of loads, and their drawing as SVG for people who compare layouts by eye. Pure text; no
 * fonts or scripts are embedded.
 */

import { type PredictOptions, predict } from './predict.js';
import type { Prediction } from './prediction.js';
import { requireWhole } from './validation.js';

/** TPOT at one concurrency. */
export interface CurvePoint {
  readonly concurrency: number;
  readonly prediction: Prediction;
}

/** A named curve. */
export interface LoadCurve {
  readonly name: string;
  readonly points: readonly CurvePoint[];
}

/**
 * Predicts a closed loop at 1, 2, 4 … clients up to `most`. Settings that cannot be served are left out. Throws
 * `ERR_PREDICT_INVALID` as predict does.
 */
export function toLoadCurve(name: string, options: PredictOptions, most: number = 256): LoadCurve {
  requireWhole('most', most, 1, 65_536);
  const points: CurvePoint[] = [];
  for (let concurrency = 1; concurrency <= most; concurrency *= 2) {
    const prediction = predict({
      ...options,
      traffic: { ...options.traffic, arrivals: { kind: 'closed', concurrency } },
    });
    if (prediction.ok) points.push({ concurrency, prediction });
  }
  return { name, points };
}

const WIDTH = 720;
const HEIGHT = 420;
const LEFT = 64;
const BOTTOM = 48;
const TOP = 24;
const RIGHT = 150;
const COLOURS = ['#c1272d', '#0f6cbd', '#2e7d32', '#8e5bb5', '#b35c00', '#00796b'];

function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A round number just above a value: 1, 2 or 5 times a power of ten. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5, 10]) if (step * power >= value) return step * power;
  return 10 * power;
}

/** Draws TPOT against concurrency, each curve with its 90 % band, as a standalone SVG document. */
export function toSvg(curves: readonly LoadCurve[]): string {
  const points = curves.flatMap((curve) => curve.points);
  const most = Math.max(2, ...points.map((point) => point.concurrency));
  const top = roundUp(Math.max(1, ...points.map((point) => point.prediction.tpotMs.mean * 1.2)));
  const x = (concurrency: number): number =>
    LEFT + ((WIDTH - LEFT - RIGHT) * Math.log2(concurrency)) / Math.log2(most);
  const y = (ms: number): number =>
    HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * Math.min(ms, top)) / top;
  const at = (px: number, py: number): string => `${px.toFixed(1)},${py.toFixed(1)}`;
  const lines: string[] = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
  ];
  for (let tick = 0; tick <= 5; tick += 1) {
    const ms = (top * tick) / 5;
    lines.push(
      `<path d="M${at(LEFT, y(ms))} L${at(WIDTH - RIGHT, y(ms))}" stroke="#ddd"/>`,
      `<text x="${LEFT - 8}" y="${(y(ms) + 4).toFixed(1)}" text-anchor="end">${Number(ms.toPrecision(3))}</text>`,
    );
  }
  for (let concurrency = 1; concurrency <= most; concurrency *= 2) {
    lines.push(
      `<text x="${x(concurrency).toFixed(1)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${concurrency}</text>`,
    );
  }
  lines.push(
    `<text x="${LEFT}" y="16">TPOT in ms</text>`,
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 10}" text-anchor="middle">concurrent requests</text>`,
  );
  for (const [index, curve] of curves.entries()) {
    const colour = COLOURS[index % COLOURS.length] ?? '#000';
    const mean = curve.points.map(({ concurrency, prediction }) =>
      at(x(concurrency), y(prediction.tpotMs.mean)),
    );
    const high = curve.points.map(({ concurrency, prediction }) =>
      at(x(concurrency), y(prediction.tpotMs.high)),
    );
    const low = curve.points.map(({ concurrency, prediction }) =>
      at(x(concurrency), y(prediction.tpotMs.low)),
    );
    if (mean.length > 0) {
      lines.push(
        `<polygon points="${[...high, ...low.reverse()].join(' ')}" fill="${colour}" opacity="0.12"/>`,
        `<polyline points="${mean.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      );
    }
    lines.push(
      `<text x="${WIDTH - RIGHT + 10}" y="${TOP + 16 + 18 * index}" fill="${colour}">${escapeXml(curve.name)}</text>`,
    );
  }
  lines.push('</svg>');
  return `${lines.join('\n')}\n`;
}
