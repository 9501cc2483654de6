/**
 * What a kernel job's function may say. A source that passes is run in plain JavaScript here, as gpu.js does on its CPU
 * mode, with traps for everything that it must not reach.
 */
import { compileFunction } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkKernel } from '../../kernels/gpujs/grammar.ts'
import type { KernelFacts } from '../../kernels/gpujs/grammar.ts'

const FACTS: KernelFacts = {
  source: '',
  constants: ['scale', 'constructor'],
  inputs: [
    { name: 'a', rank: 2, mapped: true },
    { name: 'b', rank: 1, mapped: false },
  ],
  rank: 2,
}

/** A function around these statements, with the inputs of the tests. */
const body = (statements: string): string => `function (a, b) { ${statements} }`
const check = (source: string, facts: Partial<KernelFacts> = {}) => checkKernel({ ...FACTS, source, ...facts })
const reasons = (source: string): string[] => check(source).problems.map(({ message }) => message)

describe('a kernel function', () => {
  it('is written anew: names of ours, everything in parentheses, no comments', () => {
    const source = `function mean(a, b) { // of two
      let sum = 0;
      for (let i = 0; i < this.constants.scale; i++) sum += a[this.thread.y][i] * b[i];
      return sum / this.output.x + Math.sqrt(2) * Math.PI;
    }`
    expect(check(source)).toEqual({
      problems: [],
      source: [
        'function (v_a, v_b, chunk_start) {',
        'let v_sum = 0;',
        'for (let v_i = 0; (v_i < this.constants.v_scale); v_i++) {',
        'v_sum += (v_a[this.thread.y][v_i] * v_b[v_i]);',
        '}',
        'return ((v_sum / this.output.x) + (Math.sqrt(2) * Math.PI));',
        '}',
      ].join('\n'),
    })
  })

  it('does not notice that its output is cut into chunks', () => {
    const { source } = check(
      body('return a[this.thread.y][this.thread.x] + b[this.thread.y] + this.thread.y / this.output.y;'),
    )
    expect(source).toContain(
      '((v_a[this.thread.y][this.thread.x] + v_b[(this.thread.y + chunk_start)]) + ((this.thread.y + chunk_start) / this.constants.whole_length))',
    )
  })

  it.each([
    'const v = [1, 2, 3]; return v[1];',
    'let i = 0; while (i < 3) { i++; if (i == 2) { continue; } } return i;',
    'let i = 0; do { i += 2; } while (i < 9); return i;',
    'if (b[0] > 1) return 1; else if (b[1] > 2) { return 2; } return -3;',
    'return b[0] > 0 && !(b[1] <= 2) || b[2] !== 4 ? ~b[3] : (b[4] << 2) | 1;',
    'return 2 ** 3 + 1.5e3 + 1e-7 + 0x10;',
    'return Math.min(Math.max(b[0], 0), 1) + Math.atan2(b[1], 2);',
    'let x = 1; { let y = x; x = y; } return x;',
  ])('may say: %s', (statements) => {
    expect(check(body(statements)).problems).toEqual([])
  })

  it('must give a number: gpu.js fails without a word that anybody understands', () => {
    expect(reasons(body('const x = 1;'))).toEqual([
      'source line 1: expected a function that returns a number, found no "return" in it',
    ])
  })

  it('says what is wrong, where, and all of it', () => {
    expect(reasons('function (a, b) {\n  let x = fetch(1);\n  return process.env;\n}')).toEqual([
      expect.stringMatching(/^source line 2: expected a call of Math's functions .*, found fetch\(1\)$/),
      expect.stringMatching(/^source line 3: expected no property but those of .*, found process.env$/),
    ])
  })
})

/** Ways out that people have found in sandboxes of this kind. */
const HOSTILE: string[] = [
  'return this.constructor.constructor("return process")();',
  'return a.constructor;',
  'return a["constructor"][0];',
  'return (0).constructor.constructor("return 1")();',
  'return this;',
  'return this.constants;',
  'return this.constants["scale"];',
  'return this.thread;',
  'return this.constants.__proto__;',
  'return this.constants.constructor.constructor;',
  'return this.thread.constructor;',
  'return this.output.toString;',
  'return Math.constructor("return process")();',
  'return Math["constructor"]("x");',
  'return Math.__proto__;',
  'return Math.random();',
  'const M = Math; return M.abs(1);',
  'return globalThis;',
  'return global.process.exit(1);',
  'return process.exit(1);',
  'return require("fs");',
  'return import("node:fs");',
  'return import.meta.url;',
  'return new Function("return 1")();',
  'return Function("return 1")();',
  'return eval("1");',
  'return arguments[0];',
  'return new.target;',
  'return `${1}`;',
  'return String.raw`x`;',
  'return a`x`;',
  'return "constructor";',
  'return /x/.source;',
  'return 10n;',
  'return null;',
  'return undefined;',
  'return NaN;',
  'return (() => 1)();',
  'return (function () { return 1 })();',
  'function f() { return 1 } return f();',
  'class C {} return 1;',
  'return class { static x = 1 };',
  'return { get x() { return 1 } }.x;',
  'return { __proto__: null };',
  'return { valueOf() { return 1 } } + 1;',
  'return [1, 2][0];',
  'return [...b];',
  'const [x] = b; return x;',
  'const { length } = b; return length;',
  'return b.length;',
  'return b?.[0];',
  'return b[0]?.x;',
  'return b;',
  'return b[0][0];',
  'return a[0];',
  'return a[0][0];',
  'return a[this.thread.x][0];',
  'b[0] = 1; return 1;',
  'a = 1; return 1;',
  'this.constants.scale = 2; return 1;',
  'this.thread.x++; return 1;',
  'Math.abs = 1; return 1;',
  'x = 1; return x;',
  'with (Math) { return abs(1); }',
  'label: for (let i = 0; i < 1; i++) { break label; } return 1;',
  'for (const k in b) { return 1; } return 1;',
  'for (const v of b) { return v; } return 1;',
  'for (;;) { }',
  'try { return 1; } catch (e) { return 2; }',
  'throw 1;',
  'debugger; return 1;',
  'return (1, 2);',
  'return typeof b[0];',
  'return void 0;',
  'delete b[0]; return 1;',
  'return b[0] in b;',
  'return b[0] instanceof b;',
  'return yield;',
  'return await 1;',
  'return \\u0070rocess;',
  'let \\u{61}\\u{62} = 1; return p\\u0072ocess;',
  'let ａ = 1; return ａ;',
  'let $ = 1; return $;',
  'let _ = 1; return _;',
  'let __proto__ = 1; return __proto__;',
  'return b[0] = 1;',
  'let i = 0; return i++;',
  'let x; return 1;',
  'let x = 1; let x = 2; return x;',
  'let x = 1; { let x = 2; } return x;',
  'let x = y; let y = 1; return x;',
  'return',
  'return Math.abs();',
  'return Math.abs(...b);',
  'return Math.max(1, 2, 3);',
  'return Math?.abs(1);',
  'return Math.abs?.(1);',
  'return b[0] ?? 1;',
  'let x = 1; x ??= 2; return x;',
  'let x = 1; x ||= 2; return x;',
  'return 1e999;',
  'return -(-Infinity);',
  'continue; return 1;',
  'import fs from "fs"; return 1;',
  'return super.x;',
  'const v = [1, 2]; return v;',
  'const x = 1; x = 2; return x;',
  'const x = 1; x++; return x;',
  'let v = [1, 2]; v[0] = 3; return v[0];',
  'let x = 1; return x[0];',
  'let x = 1; x[0] = 2; return x;',
  'return b[b];',
  'return b["0"];',
  'return b[`0`];',
  'switch (1) { case process.exit(1): return 1; } return 1;',
]

describe('a hostile function', () => {
  it.each(HOSTILE)('is refused: %s', (statements) => {
    expect(check(body(statements)).source).toBeUndefined()
  })

  it.each([
    '',
    'process.exit(1)',
    'function (a, b) { return 1 }) ; (function (a, b) { return 1 }',
    'function (a, b) { return 1 }); process.exit(1); (0',
    'function (a, b) { return 1 }, process.exit(1)',
    'function (a, b) { return 1 }()',
    'function (a, b) { return 1 } //\n)(process.exit(1)',
    '(a, b) => 1',
    'async function (a, b) { return 1 }',
    'function* (a, b) { return 1 }',
    'class { }',
    'function (a, b = process.exit(1)) { return 1 }',
    'function (a, ...b) { return 1 }',
    'function ({ length }, b) { return 1 }',
    'function (a) { return 1 }',
    'function (b, a) { return 1 }',
    'function (a, b, c) { return 1 }',
    'function (a, a) { return 1 }',
    '/*',
  ])('is refused where it is more or less than one function: %s', (source) => {
    expect(check(source).source).toBeUndefined()
  })

  it('cannot nest without end, nor be without end', () => {
    expect(reasons(body(`return ${'('.repeat(500)}1${')'.repeat(500)};`))).toEqual([])
    expect(reasons(body(`return ${'-+'.repeat(200)}1;`))[0]).toMatch(/nesting/)
    expect(reasons(body(`return ${'1+'.repeat(300)}1;`))[0]).toMatch(/nesting/)
    expect(reasons(body(`return 1;${' '.repeat(70_000)}`))[0]).toMatch(/at most 65536 characters/)
  })
})

/**
 * Random sentences, most of them wrong: pieces of JavaScript, hostile ones among them, put together by chance and by a
 * grammar of expressions. The law: whatever passes reaches nothing when it runs.
 */
const pieces = fc.constantFrom(
  'this', 'Math', 'a', 'b', 'constructor', '__proto__', 'process', 'globalThis', '.', '[', ']', '(', ')', '{', '}', ';', ',', '=', '+', '`', '${',
  '"', "'", '\\u0061', '=>', 'function', 'return', 'let x = 1;', 'x', '0', '1', 'thread', 'constants', 'x', 'y', 'scale', 'abs', 'new', 'yield', '//', '/*', '*/', '\n',
  'this.thread.x', 'this.constants.scale', 'Math.abs(1)', 'b[0]', 'a[this.thread.y][0]', 'return 1;', '?.', '...', 'get', 'import', 'with', 'eval',
) // prettier-ignore
const { expression } = fc.letrec<{ expression: string; leaf: string }>((tie) => ({
  leaf: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('1', 'x', 'b[0]', 'this.thread.x', 'this.constants.scale', 'Math.PI', 'a[this.thread.y][1]') }, // prettier-ignore
    { weight: 1, arbitrary: fc.constantFrom('this', 'b', 'process', 'b.constructor', 'this.constants.constructor', 'Math.constructor', '`x`', '"x"', 'this.thread', '(() => 1)') }, // prettier-ignore
  ),
  expression: fc.oneof(
    { maxDepth: 4 },
    tie('leaf'),
    fc.tuple(tie('expression'), fc.constantFrom('+', '*', '<', '&&', ',', '??', 'in'), tie('expression')).map((parts) => `(${parts.join(' ')})`), // prettier-ignore
    fc.tuple(fc.constantFrom('Math.abs', 'x', 'b', 'Math.max', 'eval'), tie('expression')).map(([callee, argument]) => `${callee}(${argument})`), // prettier-ignore
    fc.tuple(fc.constantFrom('b', 'x', 'Math', 'this', 'this.constants'), tie('expression')).map(([base, index]) => `${base}[${index}]`), // prettier-ignore
  ),
}))

describe('whatever source passes', () => {
  it('reaches nothing when it runs, however it was put together', () => {
    const sources = fc.oneof(
      fc.array(pieces, { maxLength: 12 }).map((parts) => body(parts.join(' '))),
      fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(' ')),
      expression.map((text) => body(`let x = 1; return ${text};`)),
      fc
        .tuple(expression, expression)
        .map(([test, value]) => body(`let x = 2; if (${test}) { x = ${value}; } return x;`)),
    )
    let passed = 0
    fc.assert(
      fc.property(sources, (source) => {
        const { source: text } = check(source)
        if (text === undefined) return
        passed += 1
        runInTrap(text)
      }),
      { numRuns: 5_000, seed: 20 },
    )
    // A checker that refuses all would hold the law too.
    expect(passed).toBeGreaterThan(300)
  })
})

/** Every read of a property that the function may not have is an error here; so is every global. */
function runInTrap(text: string): void {
  const trap = (name: string, members: Record<string, unknown>): object =>
    new Proxy(members, {
      get: (target, key) => {
        if (typeof key === 'string' && Object.hasOwn(target, key)) return target[key]
        throw new Error(`${name}.${String(key)} was read by ${text}`)
      },
      set: (_, key) => {
        throw new Error(`${name}.${String(key)} was written by ${text}`)
      },
    })
  const row = new Proxy([1, 2, 3], { get: (target, key) => numbered(target, key, text) })
  const rows = new Proxy([row, row], { get: (target, key) => numbered(target, key, text) })
  const constants = { v_scale: 2, v_constructor: 3, whole_length: 2 }
  const self = trap('this', {
    thread: trap('thread', { x: 0, y: 1 }),
    output: trap('output', { x: 3, y: 2 }),
    constants: trap('constants', constants),
  })
  const names = [
    'process',
    'globalThis',
    'global',
    'require',
    'eval_',
    'Function',
    'Object',
    'Array',
    'console',
    'b',
    'a',
    'x',
  ]
  const traps = names.map((name) => trap(name, {}))
  // As gpu.js does on its CPU mode.
  const run = compileFunction(`return (${text})`, names) as (...given: unknown[]) => (...inputs: unknown[]) => unknown
  const result = run(...traps).call(self, rows, row, 0)
  expect(['number', 'boolean', 'undefined']).toContain(typeof result)
}

function numbered(target: readonly unknown[], key: string | symbol, text: string): unknown {
  if (typeof key === 'string' && /^(-?\d+(\.\d+)?(e[+-]\d+)?|NaN|true|false|undefined|-?Infinity)$/.test(key))
    return target[Number(key)]
  throw new Error(`${String(key)} of an input was read by ${text}`)
}
