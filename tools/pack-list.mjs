// Judges the list of files that a package would publish. Pure.

const ALWAYS = ['LICENSE', 'README.md', 'package.json'];
const REFUSED = [
  /\.tsbuildinfo$/,
  /(^|\/)(test|bench|soak|fixtures|coverage|out-tsc)\//,
  /\.(test|bench|soak)\./,
  /\.log$/,
  /^\./,
];

/**
 * What is missing from or does not belong into a package.
 *
 * @param {readonly string[]} files - paths in the package
 * @param {Pick<import('./workspaces.mjs').Manifest, 'exports' | 'bin'>} manifest
 * @returns {string[]}
 */
export function judgePackList(files, manifest) {
  const targets = Object.values(manifest.exports ?? {}).flatMap((entry) =>
    (typeof entry === 'string' ? [entry] : Object.values(entry)).map((target) =>
      target.replace(/^\.\//, ''),
    ),
  );
  const bins = Object.values(manifest.bin ?? {});
  return [
    ...[...new Set([...ALWAYS, ...targets, ...bins])]
      .filter((file) => !files.includes(file))
      .map((file) => `does not pack ${file}`),
    ...files
      .filter((file) => REFUSED.some((pattern) => pattern.test(file)))
      .map((file) => `packs ${file}`),
  ];
}
