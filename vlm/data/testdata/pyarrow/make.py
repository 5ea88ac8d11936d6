# Makes the files beside it with pyarrow 26 and Pillow.
import pyarrow as pa, pyarrow.parquet as pq, io, json, struct, base64
from PIL import Image
def png(w=9,h=7,c=(200,30,40)):
    b=io.BytesIO(); Image.new("RGB",(w,h),c).save(b,"PNG"); return b.getvalue()
P=png()
S=pa.struct([("bytes",pa.binary()),("path",pa.string())]); X=pa.list_(pa.struct([("user",pa.string()),("assistant",pa.string())]))
def tx(n): return pa.array([[{"user":"q","assistant":"a"}]]*n,type=X)
def w(name,cols,**k): pq.write_table(pa.table(cols),name+".parquet",**k)
n=3
w("image",{"image":pa.array([{"bytes":P,"path":"a"},None,{"bytes":None,"path":"a.png"}],type=S),"texts":tx(n)})
w("Images",{"Images":pa.array([[{"bytes":P,"path":"a"}]]*n,type=pa.list_(S)),"texts":tx(n)})
w("image_binary",{"image":pa.array([P,None,P],type=pa.binary()),"texts":tx(n)})
w("image_large_binary",{"image":pa.array([P,None,P],type=pa.large_binary()),"texts":tx(n)})
w("image_string",{"image":pa.array(["a.png"]*n),"texts":tx(n)})
w("image_path",{"image_path":pa.array(["a.png"]*n),"texts":tx(n)})
w("list_binary",{"images":pa.array([[P,P],[],None],type=pa.list_(pa.binary())),"texts":tx(n)})
w("two",{"image":pa.array([{"bytes":P,"path":"a"}]*n,type=S),"images":pa.array([[{"bytes":P,"path":"a"}]]*n,type=pa.list_(S)),"texts":tx(n)})
w("scan",{"scan":pa.array([{"bytes":P,"path":"a"}]*n,type=S),"texts":tx(n)})
w("audio",{"audio":pa.array([{"bytes":b"RIFF","path":"a.wav"}]*n,type=S),"texts":tx(n)})
w("null",{"images":pa.array([None]*n,type=pa.null()),"texts":tx(n)})
w("null_list",{"images":pa.array([[]]*n,type=pa.list_(pa.null())),"texts":tx(n)})
w("null_entries",{"images":pa.array([[None]]*n,type=pa.list_(pa.null())),"texts":tx(n)})
w("ratings",{"images":pa.array([[{"bytes":P,"path":"a"}]]*n,type=pa.list_(S)),"texts":tx(n),"image_id":pa.array([1]*n),"image_url":pa.array(["https://a/b.png"]*n)})
w("dict_feature",{"picture_1":pa.array([P]*n,type=pa.binary()),"texts":tx(n)})
w("none",{"images":pa.array([[]]*n,type=pa.list_(S)),"texts":tx(n)})
m=3000
w("repeated",{"images":pa.array([[{"bytes":P,"path":None}]]*m,type=pa.list_(S)),"texts":tx(m)},compression="zstd")
w("text_rows",{"texts":pa.array([[{"user":"is it?","assistant":"yes" if i%2 else "no"}] for i in range(40000)],type=X)},compression="zstd")
import pyarrow.parquet.encryption as pe
class K(pe.KmsClient):
    def __init__(s,c): super().__init__()
    def wrap_key(s,k,m): return base64.b64encode(k)
    def unwrap_key(s,w,m): return base64.b64decode(w)
def enc(**k): return pe.CryptoFactory(lambda c:K(c)).file_encryption_properties(pe.KmsConnectionConfig(),pe.EncryptionConfiguration(footer_key="f",**k))
w("encrypted",{"texts":tx(n)},encryption_properties=enc(uniform_encryption=True))
w("encrypted_columns",{"texts":tx(n),"x":pa.array([1]*n)},encryption_properties=enc(column_keys={"f":["texts.list.element.user","texts.list.element.assistant"]},plaintext_footer=True))
# invalid utf-8 as string
bad=pa.StringArray.from_buffers(3,pa.py_buffer(struct.pack("<4i",0,2,4,7)),pa.py_buffer(b"okc\xe9fin"))
st=pa.StructArray.from_arrays([pa.array(["q"]*3),bad],names=["user","assistant"])
w("latin1",{"texts":pa.ListArray.from_arrays(pa.array([0,1,2,3],type=pa.int32()),st)})
u=[ "caf\u00e9 noir".encode("utf-16-le").decode("latin1"), "a\x00b is fine here", "yes"]
w("utf16",{"texts":pa.array([[{"user":"q","assistant":t}] for t in u],type=X)})
