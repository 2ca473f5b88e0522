// The beating surfaces, in WebGL 2: one vertex array a structure and frame, lit from the eye, turned by dragging.
const VERTEX = `#version 300 es
in vec3 place; in vec3 normal; uniform mat3 turn; uniform vec2 scale; out vec3 facing;
void main() { vec3 p = turn * place; facing = turn * normal; gl_Position = vec4(p.xy * scale, -0.5 * p.z, 1.0); }`;
const FRAGMENT = `#version 300 es
precision highp float; in vec3 facing; uniform vec4 colour; out vec4 pixel;
void main() {
  float light = abs(normalize(facing).z);
  pixel = vec4(colour.rgb * (0.28 + 0.72 * light) + 0.12 * pow(light, 24.0), mix(min(1.0, 2.2 * colour.a), colour.a, light));
}`;

class Solid {
  constructor(canvas, buffer) {
    this.canvas = canvas;
    const gl = this.gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("not available here");
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    this.uniforms = Object.fromEntries(["turn", "scale", "colour"].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.places = ["place", "normal"].map((name) => gl.getAttribLocation(program, name));
    this.load(buffer);
    [this.around, this.over, this.frame] = [0.5, 0.15, 0];
    dragged(canvas, { move: (dx, dy) => {
      this.around += dx * 0.01;
      this.over = clamped(this.over + dy * 0.01, -1.5, 1.5);
    } });
  }

  load(buffer) {
    const { counts, low, high, structures } = facts.surfaces, gl = this.gl;
    const middle = low.map((value, axis) => (value + high[axis]) / 2);
    const reach = Math.hypot(...high.map((value, axis) => value - low[axis])) / 2;
    this.structures = structures.map(([, colour, opacity]) => [
      ...[1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255), opacity]);
    let at = 0;
    this.meshes = counts.map((frame) => frame.map(([points, triangles]) => {
      const raw = new Uint16Array(buffer, at, 3 * points), corners = new Uint16Array(buffer, at + 6 * points, 3 * triangles);
      at += 6 * (points + triangles);
      const place = Float32Array.from(raw, (value, i) => (low[i % 3] + value / 65535 * (high[i % 3] - low[i % 3]) - middle[i % 3]) / reach);
      const array = gl.createVertexArray(), facing = normals(place, corners);
      gl.bindVertexArray(array);
      [place, facing].forEach((values, i) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
        gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
        gl.enableVertexAttribArray(this.places[i]);
        gl.vertexAttribPointer(this.places[i], 3, gl.FLOAT, false, 0, 0);
      });
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
      const outward = place.reduce((sum, value, i) => sum + value * facing[i], 0) > 0;
      return { array, length: corners.length, front: outward ? gl.CCW : gl.CW };
    }));
  }

  // RAS to the eye: from the front, right of the patient on the left, superior up; then turned by the drags.
  turn() {
    const [s, c, p, q] = [Math.sin(this.around), Math.cos(this.around), Math.sin(this.over), Math.cos(this.over)];
    return [-c, -p * s, q * s, s, -p * c, q * c, 0, q, p];  // column by column
  }

  draw(frame) {
    const gl = this.gl, ratio = window.devicePixelRatio || 1, canvas = this.canvas;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE);
    const least = Math.min(width, height);
    gl.uniformMatrix3fv(this.uniforms.turn, false, this.turn());
    gl.uniform2f(this.uniforms.scale, 1.4 * least / width, 1.4 * least / height);
    this.meshes[frame].forEach((mesh, index) => {
      const opaque = this.structures[index][3] === 1;
      gl.depthMask(opaque);
      gl.uniform4fv(this.uniforms.colour, this.structures[index]);
      gl.bindVertexArray(mesh.array);
      gl.frontFace(mesh.front);
      for (const hidden of opaque ? [0] : [gl.FRONT, gl.BACK]) {  // what is seen through: its far side first
        if (hidden) gl.enable(gl.CULL_FACE), gl.cullFace(hidden);
        gl.drawElements(gl.TRIANGLES, mesh.length, gl.UNSIGNED_SHORT, 0);
      }
      gl.disable(gl.CULL_FACE);
    });
    gl.depthMask(true);
  }
}

// The normal of a point is the mean of its triangles', weighted by area.
function normals(place, corners) {
  const sum = new Float32Array(place.length);
  for (let t = 0; t < corners.length; t += 3) {
    const [a, b, c] = [3 * corners[t], 3 * corners[t + 1], 3 * corners[t + 2]];
    const u = [0, 1, 2].map((i) => place[b + i] - place[a + i]), v = [0, 1, 2].map((i) => place[c + i] - place[a + i]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let i = 0; i < 3; i++) sum[corner + i] += n[i];
  }
  return sum;
}
