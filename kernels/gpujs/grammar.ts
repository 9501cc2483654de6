/**
 * The part of JavaScript that a kernel job's function may be written in, which is what gpu.js compiles on all of its
 * back ends alike. The source of a stranger is parsed, checked node by node, and *written anew* from what was understood:
 * gpu.js sees our text and never theirs, so what has no rule here (a property, a call, a string, an escape, a comment
 * that is none to another parser) does not exist for it. On its CPU mode gpu.js makes JavaScript of the text: then this
 * file is what stands between a spec and an `eval`, with the closed process (`sandbox.ts`) behind it.
 *
 * Invariants of what is written:
 * 1. Every name is a parameter or a variable that was declared in the function, prefixed by us: none can be a global,
 *    a keyword, or a name that gpu.js uses itself.
 * 2. The only members are `this.thread`, `this.output`, `this.constants` with their own fields, Math's functions and
 *    constants of the list below, and elements of arrays by a number.
 * 3. The only calls are to Math's functions of the list.
 *
 * A job computes its output in chunks along the last dimension, and the source does not notice: there `this.thread` is
 * moved to where the chunk starts, except where it picks the row of an input that is cut into chunks itself.
 */
import { parse } from 'acorn'
import type { Expression, FunctionDeclaration, FunctionExpression, Identifier, MemberExpression, Node, Pattern, Statement } from 'acorn' // prettier-ignore
import { problem } from '../layer.ts'
import type { Problem } from '../layer.ts'
import { KERNEL_DEPTH_MAX, KERNEL_SOURCE_CHARACTERS_MAX } from '../limits.ts'

export interface KernelFacts {
  source: string
  /** Names of the constants. */
  constants: readonly string[]
  /** Inputs by name, in the order of the function's parameters: how many indices each takes. */
  inputs: readonly { name: string; rank: number; mapped: boolean }[]
  /** Of the output: 1 to 3. */
  rank: number
}

export type Axis = 'x' | 'y' | 'z'
const AXES: readonly Axis[] = ['x', 'y', 'z']

/** Where the chunk starts: a parameter behind the job's own, since gpu.js compiles constants in. */
const CHUNK_START = 'chunk_start'
/** The whole output's last length: a constant beside the job's own. */
export const WHOLE_LENGTH = 'whole_length'

const MATH_FUNCTIONS: Readonly<Record<string, number>> = {
  abs: 1, acos: 1, acosh: 1, asin: 1, asinh: 1, atan: 1, atan2: 2, atanh: 1, cbrt: 1, ceil: 1, cos: 1, cosh: 1, exp: 1,
  expm1: 1, floor: 1, fround: 1, imul: 2, log: 1, log10: 1, log1p: 1, log2: 1, max: 2, min: 2, pow: 2, round: 1, sign: 1,
  sin: 1, sinh: 1, sqrt: 1, tan: 1, tanh: 1, trunc: 1,
} // prettier-ignore
const MATH_CONSTANTS = new Set(['E', 'LN10', 'LN2', 'LOG10E', 'LOG2E', 'PI', 'SQRT1_2', 'SQRT2'])

const BINARY = new Set(['+', '-', '*', '/', '%', '**', '<', '<=', '>', '>=', '==', '===', '!=', '!==', '&', '|', '^', '<<', '>>', '>>>']) // prettier-ignore
const LOGICAL = new Set(['&&', '||'])
const UNARY = new Set(['-', '+', '!', '~'])
const ASSIGNMENT = new Set(['=', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>=', '>>>='])

/** What a person may call a thing: plain letters, so that nothing looks like another name. */
export const KERNEL_NAME = /^[A-Za-z][A-Za-z0-9_]{0,63}$/

export interface CheckedKernel {
  /** The function as gpu.js gets it; undefined where there are problems. */
  source: string | undefined
  problems: Problem[]
}

export function checkKernel(facts: KernelFacts): CheckedKernel {
  const { source } = facts
  if (source.length > KERNEL_SOURCE_CHARACTERS_MAX) {
    return failed([problem('source', `at most ${KERNEL_SOURCE_CHARACTERS_MAX} characters`, source.length)])
  }
  let found: FunctionExpression | FunctionDeclaration | undefined
  try {
    // In parentheses a function may be without a name; one parser, of the version that gpu.js has.
    const [statement, ...more] = parse(`(${source}\n)`, { ecmaVersion: 2020, sourceType: 'script' }).body
    const expression = statement?.type === 'ExpressionStatement' ? statement.expression : undefined
    if (more.length === 0 && expression?.type === 'FunctionExpression') found = expression
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : String(error)
    return failed([problem('source', 'a function in JavaScript', reason)])
  }
  if (found === undefined) return failed([problem('source', 'one function and nothing else', source.slice(0, 60))])
  const writer = new Writer(facts)
  const written = writer.function(found)
  return writer.problems.length === 0 ? { source: written, problems: [] } : failed(writer.problems)
}

function failed(problems: Problem[]): CheckedKernel {
  return { source: undefined, problems }
}

class Writer {
  readonly problems: Problem[] = []
  readonly #facts: KernelFacts
  /** The last axis of the output, along which chunks are cut. */
  readonly #axis: Axis
  /** What is visible where the writer is, innermost last. */
  readonly #scopes: Set<string>[] = []
  /** Names of vectors: they are no values without an index. */
  readonly #vectors = new Set<string>()
  /** Names that were declared with const. */
  readonly #fixed = new Set<string>()
  #depth = 0
  #loops = 0
  #returns = false

  constructor(facts: KernelFacts) {
    this.#facts = facts
    this.#axis = AXES[facts.rank - 1] ?? 'x'
  }

  function(node: FunctionExpression | FunctionDeclaration): string {
    const { inputs } = this.#facts
    if (node.async || node.generator) this.#refuse(node, 'a plain function', node.async ? 'async' : 'a generator')
    const names = node.params.map((param) => (param.type === 'Identifier' ? this.#name(param) : this.#refused(param, 'a plain parameter'))) // prettier-ignore
    const wanted = inputs.map(({ name }) => name)
    if (names.join() !== wanted.join()) {
      const list = (of: readonly string[]): string =>
        of.length === 0 ? 'no parameters' : `the parameters ${of.join(', ')}`
      this.#refuse(node, `${list(wanted)}, the inputs in their order`, list(names))
    }
    this.#scopes.push(new Set(names))
    const body = this.#statements(node.body.body)
    if (!this.#returns) this.#refuse(node, 'a function that returns a number', 'no "return" in it')
    return `function (${[...names.map(written), CHUNK_START].join(', ')}) {\n${body}}`
  }

  #statements(statements: readonly Statement[]): string {
    this.#scopes.push(new Set())
    const text = statements.map((each) => this.#statement(each)).join('')
    this.#scopes.pop()
    return text
  }

  #statement(node: Statement): string {
    return this.#nested(node, () => this.#anyStatement(node))
  }

  #anyStatement(node: Statement): string {
    switch (node.type) {
      case 'EmptyStatement':
        return ''
      case 'BlockStatement':
        return `{\n${this.#statements(node.body)}}\n`
      case 'VariableDeclaration':
        return `${this.#declaration(node)};\n`
      case 'ExpressionStatement':
        return `${this.#effect(node.expression)};\n`
      case 'ReturnStatement':
        if (!node.argument) return this.#refused(node, 'a value after "return"')
        this.#returns = true
        return `return ${this.#expression(node.argument)};\n`
      case 'IfStatement': {
        const otherwise = node.alternate ? ` else ${this.#block(node.alternate)}` : '\n'
        return `if (${this.#expression(node.test)}) ${this.#block(node.consequent).trimEnd()}${otherwise}`
      }
      case 'ForStatement': {
        this.#scopes.push(new Set())
        const init = node.init ? (node.init.type === 'VariableDeclaration' ? this.#declaration(node.init) : this.#effect(node.init)) : this.#refused(node, 'a start in "for"') // prettier-ignore
        const test = node.test ? this.#expression(node.test) : this.#refused(node, 'a condition in "for"')
        const update = node.update ? this.#effect(node.update) : this.#refused(node, 'a step in "for"')
        const text = `for (${init}; ${test}; ${update}) ${this.#loop(node.body)}`
        this.#scopes.pop()
        return text
      }
      case 'WhileStatement':
        return `while (${this.#expression(node.test)}) ${this.#loop(node.body)}`
      case 'DoWhileStatement':
        return `do ${this.#loop(node.body).trimEnd()} while (${this.#expression(node.test)});\n`
      case 'BreakStatement':
      case 'ContinueStatement': {
        const word = node.type === 'BreakStatement' ? 'break' : 'continue'
        if (node.label || this.#loops === 0) return this.#refused(node, `"${word}" in a loop, without a label`)
        return `${word};\n`
      }
      default:
        return this.#refused(node, 'a statement that gpu.js knows')
    }
  }

  /** One statement becomes a block, so that its variables have a scope. */
  #block(node: Statement): string {
    const statements = node.type === 'BlockStatement' ? node.body : [node]
    return `{\n${this.#statements(statements)}}\n`
  }

  #loop(body: Statement): string {
    this.#loops += 1
    const text = this.#block(body)
    this.#loops -= 1
    return text
  }

  #declaration(node: Extract<Statement, { type: 'VariableDeclaration' }>): string {
    const kind = node.kind === 'const' ? 'const' : node.kind === 'let' || node.kind === 'var' ? 'let' : this.#refused(node, 'const or let') // prettier-ignore
    const parts = node.declarations.map(({ id, init }) => {
      if (id.type !== 'Identifier') return this.#refused(id, 'a plain name')
      if (!init) return this.#refused(id, `a first value for ${id.name}`)
      // The value first: it does not see its own name.
      const value = init.type === 'ArrayExpression' ? this.#vector(init) : this.#expression(init)
      const name = this.#name(id)
      if (this.#isVisible(name)) this.#refuse(id, `a name that is not in use`, name)
      this.#scopes.at(-1)?.add(name)
      if (init.type === 'ArrayExpression') this.#vectors.add(name)
      else this.#vectors.delete(name)
      if (kind === 'const') this.#fixed.add(name)
      else this.#fixed.delete(name)
      return `${written(name)} = ${value}`
    })
    return `${kind} ${parts.join(', ')}`
  }

  /** gpu.js has vectors of two to four numbers. */
  #vector({ elements, ...node }: Extract<Expression, { type: 'ArrayExpression' }>): string {
    if (elements.length < 2 || elements.length > 4) return this.#refused(node, 'two to four numbers')
    return `[${elements.map((each) => (each && each.type !== 'SpreadElement' ? this.#expression(each) : this.#refused(node, 'numbers'))).join(', ')}]`
  }

  /** An expression that stands for what it does: an assignment or a count. */
  #effect(node: Expression): string {
    if (node.type === 'AssignmentExpression') {
      if (!ASSIGNMENT.has(node.operator)) return this.#refused(node, 'an assignment')
      return `${this.#target(node.left)} ${node.operator} ${this.#expression(node.right)}`
    }
    if (node.type === 'UpdateExpression' && (node.operator === '++' || node.operator === '--')) {
      return `${this.#target(node.argument)}${node.operator}`
    }
    return this.#refused(node, 'an assignment')
  }

  /** A variable that is no constant, no vector, and not given to the function: gpu.js writes to nothing else everywhere. */
  #target(node: Pattern | Expression): string {
    if (node.type !== 'Identifier') return this.#refused(node, 'a variable')
    const isInput = this.#facts.inputs.some(({ name }) => name === node.name)
    if (isInput || this.#fixed.has(node.name)) return this.#refused(node, 'a variable declared with let', node.name)
    return this.#variable(node)
  }

  #expression(node: Expression): string {
    return this.#nested(node, () => this.#anyExpression(node))
  }

  #anyExpression(node: Expression): string {
    switch (node.type) {
      case 'Literal':
        if (typeof node.value === 'boolean') return String(node.value)
        if (typeof node.value !== 'number' || !Number.isFinite(node.value)) return this.#refused(node, 'a number')
        // gpu.js tells integers from other numbers by how they are written.
        return /[.eE]/.test(node.raw ?? '') && Number.isInteger(node.value) && Math.abs(node.value) < 1e15 ? `${node.value}.0` : String(node.value) // prettier-ignore
      case 'Identifier':
        return this.#variable(node)
      case 'ParenthesizedExpression':
        return this.#expression(node.expression)
      case 'UnaryExpression':
        if (!UNARY.has(node.operator)) return this.#refused(node, `one of ${[...UNARY].join(' ')}`)
        return `(${node.operator}${this.#expression(node.argument)})`
      case 'BinaryExpression': {
        const { left, right, operator } = node
        if (!BINARY.has(operator) || left.type === 'PrivateIdentifier') return this.#refused(node, 'an operator of numbers') // prettier-ignore
        return `(${this.#expression(left)} ${operator} ${this.#expression(right)})`
      }
      case 'LogicalExpression':
        if (!LOGICAL.has(node.operator)) return this.#refused(node, '&& or ||')
        return `(${this.#expression(node.left)} ${node.operator} ${this.#expression(node.right)})`
      case 'ConditionalExpression':
        return `(${this.#expression(node.test)} ? ${this.#expression(node.consequent)} : ${this.#expression(node.alternate)})`
      case 'MemberExpression':
        return this.#member(node)
      case 'CallExpression': {
        const { callee, optional } = node
        const name = callee.type === 'MemberExpression' && !optional ? mathMember(callee) : undefined
        const count = name === undefined ? undefined : own(MATH_FUNCTIONS, name)
        if (count === undefined) return this.#refused(node, `a call of Math's functions (${Object.keys(MATH_FUNCTIONS).join(', ')})`) // prettier-ignore
        if (node.arguments.length !== count) return this.#refused(node, `${count} argument${count === 1 ? '' : 's'} of Math.${name}`) // prettier-ignore
        const given = node.arguments.map((each) => (each.type === 'SpreadElement' ? this.#refused(each, 'a number') : this.#expression(each))) // prettier-ignore
        return `Math.${name}(${given.join(', ')})`
      }
      default:
        return this.#refused(node, 'an expression that gpu.js knows')
    }
  }

  #member(node: MemberExpression): string {
    if (node.optional) return this.#refused(node, 'a member without "?."')
    const constant = mathMember(node)
    if (constant !== undefined) return MATH_CONSTANTS.has(constant) ? `Math.${constant}` : this.#refused(node, `a constant of Math (${[...MATH_CONSTANTS].join(', ')})`) // prettier-ignore
    const own = thisMember(node)
    if (own !== undefined) return this.#ownMember(node, own)
    if (!node.computed) return this.#refused(node, 'no property but those of this.thread, this.output, this.constants and Math') // prettier-ignore
    return this.#element(node)
  }

  /** `this.thread.x`, `this.output.x`, `this.constants.name`. */
  #ownMember(node: MemberExpression, [group, field]: readonly [string, string]): string {
    const { constants, rank } = this.#facts
    if (group === 'constants') {
      return constants.includes(field) ? `this.constants.${written(field)}` : this.#refused(node, `one of the constants (${constants.join(', ')})`, field) // prettier-ignore
    }
    const axis = AXES.slice(0, rank).find((each) => each === field)
    if (axis === undefined || (group !== 'thread' && group !== 'output')) {
      return this.#refused(node, `this.thread or this.output with ${AXES.slice(0, rank).join(', ')}`, `this.${group}.${field}`) // prettier-ignore
    }
    if (axis !== this.#axis) return `this.${group}.${axis}`
    return group === 'thread' ? `(this.thread.${axis} + ${CHUNK_START})` : `this.constants.${WHOLE_LENGTH}`
  }

  /** An element of an input, with all of its indices, or of a vector. */
  #element(node: MemberExpression): string {
    const indices: Expression[] = []
    let base: Expression | Node = node
    while (base.type === 'MemberExpression') {
      const member = base as MemberExpression // by its type
      if (!member.computed || member.optional || member.property.type === 'PrivateIdentifier') return this.#refused(member, 'an element by its number') // prettier-ignore
      indices.unshift(member.property)
      base = member.object
    }
    if (base.type !== 'Identifier') return this.#refused(node, 'an element of an input or a vector')
    const name = (base as Identifier).name
    const input = this.#facts.inputs.find((each) => each.name === name)
    const rank = input?.rank ?? 1
    if (indices.length !== rank) return this.#refused(node, `${rank} ${rank === 1 ? 'index' : 'indices'} of ${name}`, String(indices.length)) // prettier-ignore
    const [first, ...rest] = indices
    let start: string
    if (input?.mapped === true) {
      const own = first?.type === 'MemberExpression' ? thisMember(first) : undefined
      if (own?.[0] !== 'thread' || own[1] !== this.#axis) {
        return this.#refused(node, `this.thread.${this.#axis} as the first index of ${name}, which comes row by row`)
      }
      start = `this.thread.${this.#axis}`
    } else start = first === undefined ? '' : this.#expression(first)
    const others = rest.map((each) => `[${this.#expression(each)}]`).join('')
    return `${this.#variable(base as Identifier, rank)}[${start}]${others}`
  }

  /** A name that is visible here. An input of rank above 0 is no value by itself. */
  #variable(node: Identifier, indices = 0): string {
    const name = this.#name(node)
    if (!this.#isVisible(name)) return this.#refused(node, 'a parameter or a variable of the function', name)
    const input = this.#facts.inputs.find((each) => each.name === name)
    if (!input && this.#vectors.has(name) !== (indices === 1)) {
      return this.#refused(node, this.#vectors.has(name) ? `${name} with an index` : `${name} without an index`, name)
    }
    if (input && input.rank !== indices) return this.#refused(node, `${name} with ${input.rank} indices`, name)
    return written(name)
  }

  #name(node: Identifier): string {
    if (!KERNEL_NAME.test(node.name)) this.#refuse(node, 'a name of letters, digits and "_"', node.name)
    return node.name
  }

  #isVisible(name: string): boolean {
    return this.#scopes.some((scope) => scope.has(name))
  }

  /** Bounds the depth, so that no source can run us, or gpu.js after us, out of stack. */
  #nested(node: Node, write: () => string): string {
    if (this.#depth >= KERNEL_DEPTH_MAX) return this.#refused(node, `nesting of at most ${KERNEL_DEPTH_MAX}`)
    this.#depth += 1
    const text = write()
    this.#depth -= 1
    return text
  }

  #refused(node: Node, expected: string, found?: string): string {
    this.#refuse(node, expected, found)
    return '0'
  }

  #refuse(node: Node, expected: string, found?: string): void {
    // The parenthesis that we put in front stands at 0.
    const before = this.#facts.source.slice(0, Math.max(0, node.start - 1))
    const line = before.split('\n').length
    const text = this.#facts.source.slice(Math.max(0, node.start - 1), node.end - 1)
    this.problems.push(problem(`source line ${line}`, expected, found ?? text.slice(0, 60)))
  }
}

/** Ours in front: a name cannot be a keyword, a global, or one of gpu.js. Constants are properties, and as safe. */
function written(name: string): string {
  return `v_${name}`
}

/** The constants as the written function names them. */
export function writtenConstants(constants: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(constants).map(([name, value]) => [written(name), value]))
}

function mathMember({ object, property, computed }: MemberExpression): string | undefined {
  if (computed || object.type !== 'Identifier' || object.name !== 'Math') return undefined
  return property.type === 'Identifier' ? property.name : undefined
}

function thisMember({ object, property, computed, optional }: MemberExpression): readonly [string, string] | undefined {
  if (computed || optional || property.type !== 'Identifier' || object.type !== 'MemberExpression') return undefined
  if (object.computed || object.optional || object.object.type !== 'ThisExpression') return undefined
  return object.property.type === 'Identifier' ? [object.property.name, property.name] : undefined
}

function own<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}
