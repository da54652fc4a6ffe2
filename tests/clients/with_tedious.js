// tedious: JavaScript alone. It sends typed parameters by name, and transactions as transaction manager requests.
'use strict';

const fs = require('fs');
const path = require('path');

const NOT_INSTALLED = 3;
// Milliseconds that a statement may take, and after which the script is ended.
const PATIENCE = 60 * 1000;
const DEADLINE = 900 * 1000;

setTimeout(() => {
  console.error('the server keeps the client waiting');
  process.exit(1);
}, DEADLINE).unref();

let tedious;
try {
  tedious = require('tedious');
} catch (error) {
  if (error.code !== 'MODULE_NOT_FOUND') throw error;
  console.error('not installed: tedious, of npm; NODE_PATH names the folder it is in');
  process.exit(NOT_INSTALLED);
}
const { Connection, Request, TYPES, ISOLATION_LEVEL } = tedious;

const server = process.env;
const problems = [];

function check(holds, problem) {
  if (!holds) problems.push(problem);
}

function connect(password) {
  const encrypts = server.SERVER_ENCRYPTION === 'tls';
  const connection = new Connection({
    server: 'localhost',
    authentication: { type: 'default', options: { userName: server.SERVER_USER, password } },
    options: {
      port: Number(server.SERVER_PORT),
      database: server.SERVER_DATABASE,
      encrypt: encrypts,
      cryptoCredentialsDetails: encrypts ? { ca: fs.readFileSync(server.SERVER_CERTIFICATE) } : undefined,
      trustServerCertificate: false,
      useUTC: true,
      connectTimeout: PATIENCE,
      requestTimeout: PATIENCE,
      rowCollectionOnRequestCompletion: true,
    },
  });
  return new Promise((resolve, reject) => {
    connection.connect((error) => (error ? reject(error) : resolve(connection)));
  });
}

// Runs a statement; gives its rows. Without parameters it is a batch.
function execute(connection, sql, parameters = []) {
  return new Promise((resolve, reject) => {
    const request = new Request(sql, (error, _count, rows) => {
      if (error) reject(error);
      else resolve((rows || []).map((row) => row.map((column) => column.value)));
    });
    for (const [name, type, value] of parameters) request.addParameter(name, ...[].concat(type), value);
    if (parameters.length) connection.execSql(request);
    else connection.execSqlBatch(request);
  });
}

// `connection.beginTransaction` and its kin, as promises.
function transaction(connection, step, ...options) {
  return new Promise((resolve, reject) => {
    connection[step]((error) => (error ? reject(error) : resolve()), ...options);
  });
}

function cases() {
  const lines = JSON.parse(fs.readFileSync(path.join(__dirname, 'cases.json'), 'utf8'));
  return lines.map((line, index) => {
    const values = line.values.map((value) => (value && value.text ? value.text.repeat(value.times) : value));
    const some = values.find((value) => value !== null);
    const rows = values.map((value) => [value, value === null ? some : value]);
    return { table: `dbo.case_${index + 1}`, type: line.type, kind: line.kind, rows };
  });
}

function literal(kind, text) {
  if (text === null) return 'NULL';
  if (kind === 'bytes') return `0x${text}`;
  if (['integer', 'bit', 'decimal', 'real', 'float'].includes(kind)) return text;
  return `N'${text.replaceAll("'", "''")}'`;
}

// A parameter's type and value. Decimals go as text, since JavaScript has no exact decimals.
function bound(name, testCase, text) {
  const own = (type, value) => [name, type, text === null ? null : value()];
  switch (testCase.kind) {
    case 'bit':
      return own(TYPES.Bit, () => text === '1');
    case 'integer':
      return testCase.type === 'bigint' ? own(TYPES.BigInt, () => BigInt(text)) : own(TYPES.Int, () => Number(text));
    case 'real':
      return own(TYPES.Real, () => Number(text));
    case 'float':
      return own(TYPES.Float, () => Number(text));
    case 'bytes':
      return own(TYPES.VarBinary, () => Buffer.from(text, 'hex'));
    case 'guid':
      return own(TYPES.UniqueIdentifier, () => text);
    default:
      return own(TYPES.NVarChar, () => text);
  }
}

// A value read, as the text of the cases.
function shown(kind, value) {
  if (value === null) return null;
  if (kind === 'bit') return value ? '1' : '0';
  if (kind === 'bytes') return value.toString('hex');
  if (kind === 'guid') return value.toLowerCase();
  if (value instanceof Date) {
    // `nanosecondsDelta` is the part of a second below a millisecond.
    const fine = Math.round((value.nanosecondsDelta || 0) * 1e7);
    const text = value.toISOString().replace('Z', String(fine).padStart(4, '0')).replace('T', ' ');
    return { date: text.slice(0, 10), time: text.slice(11), datetime: text, offset: `${text} +00:00` }[kind];
  }
  return String(value);
}

function same(kind, read, text) {
  if (read === null || text === null) return read === text;
  // tedious makes numbers of decimals and money, by arithmetic that costs the last digit.
  if (kind === 'decimal') return Math.abs(Number(read) - Number(text)) <= Math.abs(Number(text)) * 1e-15;
  if (kind === 'float') return Number(read) === Number(text);
  if (kind === 'real') return Math.fround(Number(read)) === Math.fround(Number(text));
  // tedious gives the instant, and not the offset it had.
  if (kind === 'offset' && !text.endsWith('+00:00')) {
    return new Date(text.replace(' ', 'T').replace(' ', '')).getTime() === new Date(read).getTime();
  }
  if (['time', 'datetime', 'offset'].includes(kind)) return digits(read) === digits(text);
  return read === text;
}

// Without the zeros that end a fraction of a second.
function digits(text) {
  return text.includes('.') ? text.replace(/\.?0*( [+-]|$)/, '$1') : text;
}

async function values(connection, testCase) {
  const { table, type, kind, rows } = testCase;
  await execute(connection, `CREATE TABLE ${table} (id int NOT NULL PRIMARY KEY, a ${type} NULL, b ${type} NOT NULL)`);
  const insert = `INSERT INTO ${table} (id, a, b) VALUES`;
  const expected = [];
  for (const pair of rows) {
    await execute(connection, `${insert} (${expected.length}, ${pair.map((text) => literal(kind, text)).join(', ')})`);
    expected.push(pair);
    const parameters = [['id', TYPES.Int, expected.length], ...pair.map((text, at) => bound('ab'[at], testCase, text))];
    await execute(connection, `${insert} (@id, @a, @b)`, parameters);
    expected.push(pair);
  }
  const found = await execute(connection, `SELECT id, a, b FROM ${table} ORDER BY id`);
  check(found.length === expected.length, `${type}: ${found.length} rows instead of ${expected.length}`);
  found.forEach((row, number) => {
    row.slice(1).forEach((value, at) => {
      const [read, text] = [shown(kind, value), expected[number][at]];
      const how = number % 2 ? 'a parameter' : 'a literal';
      check(same(kind, read, text), `${type} column ${'ab'[at]}, from ${how}: ${read} instead of ${text}`);
    });
  });
}

// A statement that is prepared, executed twice, and forgotten.
async function prepared(connection) {
  let ended;
  const request = new Request('SELECT @a AS a, @b AS b', (error, _count, rows) => ended(error, rows));
  request.addParameter('a', TYPES.Int);
  request.addParameter('b', TYPES.NVarChar);
  const step = (start) =>
    new Promise((resolve, reject) => {
      ended = (error, rows) => (error ? reject(error) : resolve(rows));
      start();
    });
  await new Promise((resolve, reject) => {
    request.once('prepared', resolve);
    request.once('error', reject);
    connection.prepare(request);
  });
  for (const values of [{ a: 1, b: 'x' }, { a: null, b: 'ł' }]) {
    const rows = await step(() => connection.execute(request, values));
    const found = rows.map((row) => row.map((column) => column.value));
    const expected = [[values.a, values.b]];
    check(JSON.stringify(found) === JSON.stringify(expected), `prepared: ${JSON.stringify(found)}`);
  }
  await step(() => connection.unprepare(request));
}

async function fails(connection, sql, number, words) {
  try {
    await execute(connection, sql);
    problems.push(`${sql} succeeds`);
  } catch (error) {
    check(error.number === number, `${sql} is error ${error.number} instead of ${number}`);
    check(error.message.includes(words), `${sql} says: ${error.message}`);
  }
}

async function errors(connection) {
  await fails(connection, 'SELECT * FROM dbo.missing', 208, "Invalid object name 'dbo.missing'.");
  await execute(connection, 'CREATE TABLE dbo.errors (id int NOT NULL CONSTRAINT pk_errors PRIMARY KEY)');
  await execute(connection, 'INSERT INTO dbo.errors VALUES (1)');
  await fails(connection, 'INSERT INTO dbo.errors VALUES (1)', 2627, "Violation of PRIMARY KEY constraint 'pk_errors'");
  await fails(connection, 'SELECT 1 / 0 AS x', 8134, 'Divide by zero error encountered.');
  await seen(connection, 'errors', [1]);
}

async function seen(connection, table, expected) {
  const rows = await execute(connection, `SELECT id FROM dbo.${table} ORDER BY id`);
  const ids = rows.map(([id]) => id);
  check(JSON.stringify(ids) === JSON.stringify(expected), `rows ${ids} of ${table} instead of ${expected}`);
}

async function transactions(connection) {
  const other = await connect(server.SERVER_PASSWORD);
  const add = (id) => execute(connection, 'INSERT INTO dbo.moves VALUES (@id)', [['id', TYPES.Int, id]]);
  const begin = () => transaction(connection, 'beginTransaction', 'moving', ISOLATION_LEVEL.READ_COMMITTED);
  await execute(connection, 'CREATE TABLE dbo.moves (id int NOT NULL PRIMARY KEY)');
  await begin();
  await add(1);
  await transaction(connection, 'rollbackTransaction');
  await seen(connection, 'moves', []);
  await begin();
  await add(2);
  await transaction(connection, 'saveTransaction', 'here');
  await add(3);
  await transaction(connection, 'rollbackTransaction', 'here');
  await transaction(connection, 'commitTransaction');
  await seen(other, 'moves', [2]);
  other.close();
}

async function refusedLogin() {
  try {
    (await connect(`${server.SERVER_PASSWORD}?`)).close();
    problems.push('a wrong password is accepted');
  } catch (error) {
    check(error.code === 'ELOGIN', `a wrong password is ${error.code}`);
    check(error.message.includes("Login failed for user 'sa'."), `a wrong password says: ${error.message}`);
  }
}

async function main() {
  await refusedLogin();
  const connection = await connect(server.SERVER_PASSWORD);
  for (const testCase of cases()) {
    // One type's failure must not hide another's.
    await values(connection, testCase).catch((error) => problems.push(`${testCase.type}: ${error.message}`));
  }
  await prepared(connection);
  await errors(connection);
  await transactions(connection);
  connection.close();
  problems.forEach((problem) => console.error(problem));
  process.exitCode = problems.length ? 1 : 0;
}

main().catch((error) => {
  problems.concat(error.stack).forEach((problem) => console.error(problem));
  process.exit(1);
});
