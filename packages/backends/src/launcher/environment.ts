/**
 * Which of the launching process's own variables an engine inherits. Engines get what runtimes and models need, and
 * nothing else: the launching process may hold tenants' keys. Pure.
 */

const NAMES: ReadonlySet<string> = new Set([
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'LANG',
  'LANGUAGE',
  'TZ',
  'TMPDIR',
  'LD_LIBRARY_PATH',
  'VIRTUAL_ENV',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'all_proxy',
]);

const PREFIXES: readonly string[] = [
  'LC_',
  'XDG_',
  'SSL_CERT_',
  'CONDA_',
  'PYTHON',
  'PYTORCH_',
  'TORCH',
  'TRITON_',
  'TRANSFORMERS_',
  'HF_',
  'HUGGING_FACE_',
  'VLLM_',
  'SGLANG_',
  'SGL_',
  'LLAMA_',
  'GGML_',
  'ROCM_',
  'ROCR_',
  'HIP_',
  'HSA_',
  'AITER_',
  'MIOPEN_',
  'HIPBLASLT_',
  'TENSILE_',
  'NCCL_',
  'RCCL_',
  'OMP_',
  'MKL_',
];

/** The environment of an engine: what is inherited by name or prefix, then the command's own variables over it. */
export function engineEnvironment(
  own: Readonly<Record<string, string | undefined>>,
  command: Readonly<Record<string, string>>,
  alsoPass: readonly string[],
): Record<string, string> {
  const inherited = Object.entries(own).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      (NAMES.has(entry[0]) ||
        alsoPass.includes(entry[0]) ||
        PREFIXES.some((prefix) => entry[0].startsWith(prefix))),
  );
  return { ...Object.fromEntries(inherited), ...command };
}

const SECRET_FLAG = /(key|token|secret|password|credential)/i;

/** A command line that may be logged: values of flags whose names speak of secrets are replaced. */
export function redactArgv(argv: readonly string[]): readonly string[] {
  let hideNext = false;
  return argv.map((argument) => {
    const hide = hideNext && !argument.startsWith('-');
    hideNext = false;
    if (hide) return '***';
    if (!argument.startsWith('-')) return argument;
    const equals = argument.indexOf('=');
    const flag = equals === -1 ? argument : argument.slice(0, equals);
    if (!SECRET_FLAG.test(flag) || /token(s|izer)/i.test(flag)) return argument;
    if (equals !== -1) return `${flag}=***`;
    hideNext = true;
    return argument;
  });
}
