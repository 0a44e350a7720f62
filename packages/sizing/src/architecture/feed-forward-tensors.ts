/**
 * The tensors of a feed-forward side: gate and up fused, the experts of a layer stacked in one allocation, router,
 * shared expert. Formulas: published architectures, checked against published totals.
 */
import type { Component, FeedForward, Tensor } from '../model-config.js';
import { matrix, plainMatrix, vector } from './tensor-shapes.js';

function denseTensors(
  component: Component,
  module: string,
  width: number,
  gated: boolean,
  bias: boolean,
  hidden: number,
): Tensor[] {
  const rows = (gated ? 2 : 1) * width;
  const tensors = [
    matrix({ component, module: `${module}.gate_up_proj`, rows, columns: hidden, split: 'rows' }),
    matrix({
      component,
      module: `${module}.down_proj`,
      rows: hidden,
      columns: width,
      split: 'columns',
    }),
  ];
  if (bias) {
    tensors.push(
      vector(component, `${module}.gate_up_proj.bias`, rows, { split: 'rows' }),
      vector(component, `${module}.down_proj.bias`, hidden),
    );
  }
  return tensors;
}

/** The tensors of a feed-forward side. */
export function feedForwardTensors(feedForward: FeedForward, hidden: number): readonly Tensor[] {
  const tensors: Tensor[] = [];
  const { dense, experts, shared } = feedForward;
  if (dense !== null)
    tensors.push(
      ...denseTensors('feedForward', 'mlp', dense.width, dense.gated, dense.bias, hidden),
    );
  if (experts !== null) {
    const count = experts.experts;
    const inner = experts.latent ?? hidden;
    const rows = (experts.gated ? 2 : 1) * experts.width;
    tensors.push(
      plainMatrix({
        component: 'router',
        module: 'mlp.gate',
        rows: count,
        columns: hidden,
        split: 'replicated',
      }),
      matrix({
        component: 'experts',
        module: 'mlp.experts',
        rows,
        columns: inner,
        stack: count,
        split: 'expertRows',
      }),
      matrix({
        component: 'experts',
        module: 'mlp.experts',
        rows: inner,
        columns: experts.width,
        stack: count,
        split: 'expertColumns',
      }),
    );
    if (experts.routerBias) tensors.push(vector('router', 'mlp.gate.bias', count));
    if (experts.correctionBias)
      tensors.push(vector('router', 'mlp.gate.correction', count, { wide: true }));
    if (experts.routerScales) tensors.push(vector('router', 'mlp.gate.scale', hidden + count));
    if (experts.bias) tensors.push(vector('experts', 'mlp.experts.bias', count * (rows + inner)));
    if (experts.latent !== null) {
      const module = 'mlp.latent_proj';
      tensors.push(
        matrix({ component: 'experts', module, rows: inner, columns: hidden, split: 'replicated' }),
        matrix({ component: 'experts', module, rows: hidden, columns: inner, split: 'replicated' }),
      );
    }
  }
  if (shared !== null) {
    tensors.push(
      ...denseTensors(
        'sharedExperts',
        'mlp.shared_experts',
        shared.width,
        shared.gated,
        shared.bias,
        hidden,
      ),
    );
    if (shared.outputGate) tensors.push(vector('sharedExperts', 'mlp.shared_expert_gate', hidden));
  }
  return tensors;
}
