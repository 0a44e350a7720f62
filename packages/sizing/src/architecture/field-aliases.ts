/**
 * Other families' names for fields that this package knows by the usual ones, and lists that say the same number for
 * every layer. Owns spellings only; a value is never changed.
 */

const USUAL_NAME: ReadonlyMap<string, string> = new Map([
  ['d_model', 'hidden_size'],
  ['n_embd', 'hidden_size'],
  ['n_layer', 'num_hidden_layers'],
  ['n_layers', 'num_hidden_layers'],
  ['num_layers', 'num_hidden_layers'],
  ['n_head', 'num_attention_heads'],
  ['n_heads', 'num_attention_heads'],
  ['multi_query_group_num', 'num_key_value_heads'],
  ['kv_channels', 'head_dim'],
  ['attention_head_dim', 'head_dim'],
  ['ffn_hidden_size', 'intermediate_size'],
  ['n_inner', 'intermediate_size'],
  ['padded_vocab_size', 'vocab_size'],
  ['seq_length', 'max_position_embeddings'],
  ['n_positions', 'max_position_embeddings'],
  ['add_qkv_bias', 'qkv_bias'],
  ['add_bias_linear', 'mlp_bias'],
  ['moe_num_experts', 'num_experts'],
  ['moe_k', 'num_experts_per_tok'],
  ['moe_topk', 'num_experts_per_tok'],
  ['moe_num_shared_experts', 'n_shared_experts'],
  ['num_shared_expert', 'n_shared_experts'],
  ['moe_layer_start_index', 'first_k_dense_replace'],
]);

/** Fields that some files list for every layer; a list of one value is that value. */
const ONE_VALUE: readonly string[] = [
  'moe_intermediate_size',
  'num_experts',
  'num_experts_per_tok',
  'n_shared_experts',
  'num_attention_heads',
  'num_key_value_heads',
];

function oneValue(value: unknown): unknown {
  if (!Array.isArray(value) || value.length === 0) return value;
  const [first] = value;
  return value.every((other) => other === first) ? first : value;
}

/** The same fields under their usual names; a field that is there under its usual name keeps it. */
export function usualFields(
  fields: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const usual: Record<string, unknown> = { ...fields };
  for (const [name, usualName] of USUAL_NAME)
    if (Object.hasOwn(fields, name)) usual[usualName] ??= fields[name];
  for (const name of ONE_VALUE) if (name in usual) usual[name] = oneValue(usual[name]);
  return usual;
}
