/**
 * The house's import directions (ARCHITECTURE.md, "The house"), as a program.
 * A folder may import from itself, from packages its row names, and from the folders its row names; nothing else.
 */
const row = (folder, { folders = [], packages = [], types = [] }) => [
  {
    name: `${folder}-folders`,
    comment: `${folder}/ may import only: ${[folder, ...folders, ...types.map((t) => `${t} (types)`)].join(', ')}`,
    severity: 'error',
    from: { path: `^${folder}/` },
    to: {
      path: '^[^/]+/',
      dependencyTypesNot: ['core'], // `fs/promises` is no folder of ours
      pathNot: [
        `^${folder}/`,
        '^node_modules/',
        ...folders.map((f) => `^${f}(/|$)`),
        ...types.map((f) => `^${f}(/|$)`),
      ],
    },
  },
  ...types.map((f) => ({
    name: `${folder}-types-of-${f.replaceAll('/', '-')}`,
    comment: `${folder}/ may import ${f}/ as types only`,
    severity: 'error',
    from: { path: `^${folder}/` },
    to: { path: `^${f}(/|$)`, dependencyTypesNot: ['type-only'] },
  })),
  ...(packages === 'any'
    ? []
    : [
        {
          name: `${folder}-packages`,
          comment: `${folder}/ may import only these packages: ${packages.join(', ') || 'none'}`,
          severity: 'error',
          from: { path: `^${folder}/` },
          to: { path: '^node_modules/', pathNot: packages.map((p) => `^node_modules/${p}/`) },
        },
      ]),
]

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
    ...row('machines', { packages: ['xstate'] }),
    ...row('runtime', { packages: ['xstate', 'ioredis', '@opentelemetry/api'] }),
    ...row('kernels', { packages: 'any' }),
    ...row('stores', { packages: 'any' }),
    ...row('actors', { folders: ['machines', 'runtime/mod\\.ts'], types: ['stores', 'kernels'], packages: ['xstate'] }),
    ...row('gateway', {
      folders: ['runtime/client\\.ts', 'runtime/errors\\.ts'],
      types: ['stores', 'machines'],
      packages: 'any',
    }),
    ...row('otel', { types: ['runtime'], packages: 'any' }),
    ...row('dashboards', { packages: 'any' }),
    {
      name: 'ioredis-in-one-file',
      comment: 'only runtime/redis/connection.ts knows the client library of Redis',
      severity: 'error',
      from: { path: '^runtime/', pathNot: '^runtime/redis/connection\\.ts$' },
      to: { path: '^node_modules/ioredis/' },
    },
    {
      name: 'opentelemetry-in-one-file',
      comment: 'only runtime/trace.ts knows OpenTelemetry',
      severity: 'error',
      from: { path: '^runtime/', pathNot: '^runtime/trace\\.ts$' },
      to: { path: '^node_modules/@opentelemetry/' },
    },
    {
      name: 'by-the-front-door',
      comment: 'stores/ and kernels/ are imported by their mod.ts alone, except by their own tests',
      severity: 'error',
      from: { pathNot: '^(stores|kernels|tests)/' },
      to: { path: '^(stores|kernels)/', pathNot: '^(stores|kernels)/mod\\.ts$' },
    },
    {
      name: 'machines-are-pure',
      comment: 'machines/ do no I/O: no node built-ins',
      severity: 'error',
      from: { path: '^machines/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'only-the-top-is-imported-by-nobody',
      comment: 'cli/, bench/, tests/ and examples/ stand at the top: nothing below imports them',
      severity: 'error',
      from: { path: '^(machines|runtime|kernels|stores|actors|gateway|otel|dashboards)/' },
      to: { path: '^(cli|bench|tests|examples)/' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    // Not 'specify': that compiles each file under the name `module.ts`, and TypeScript 6 dies of a file which imports a
    // `./module.ts`. Under verbatimModuleSyntax what is written is what is imported, so `true` tells types from values.
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^tests/house/violations/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types', 'default'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
}
